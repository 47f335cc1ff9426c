// Package installation knows what an installation of Tulle leaves in a cluster.
//
// It owns the values that it was rendered with, which of its objects are missing, which objects belong to it, and which
// manifests update it. It reads a cluster and changes nothing. The one idea: what an installation consists of is asked
// of package install, and not listed here a second time.
package installation

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/install"
	"github.com/tulle-mesh/tulle/mesh"
)

// ConfigMap is the name of the ConfigMap that install writes.
const ConfigMap = mesh.InstallConfigMap

// Config returns the ConfigMap of the installation in a namespace. Its errors are the API server's.
func Config(ctx context.Context, cl *cluster.Client, namespace string) (*corev1.ConfigMap, error) {
	return cl.CoreV1().ConfigMaps(namespace).Get(ctx, ConfigMap, metav1.GetOptions{})
}

// Values returns the values that the installation was rendered with.
func Values(config *corev1.ConfigMap) (install.Values, error) {
	values, err := install.Installed(config.Data["install"])
	if err != nil {
		return values, fmt.Errorf("read ConfigMap %s: %w", ConfigMap, err)
	}
	return values, nil
}

// ClusterDomain returns the cluster domain of the installation; "" if its configuration cannot be read.
func ClusterDomain(ctx context.Context, cl *cluster.Client, namespace string) (string, error) {
	config, err := Config(ctx, cl, namespace)
	if err != nil {
		return "", nil
	}
	values, err := Values(config)
	return values.ClusterDomain, err
}
