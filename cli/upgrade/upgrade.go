// Package upgrade brings an installation and its proxies to another version.
//
// It owns what is compared before an upgrade: versions, trust and objects; and how running proxies are replaced.
// Package installation makes the manifests. The one idea: an upgrade that would break running proxies is refused before
// anything changes, and what is changed one by one can be stopped after each step and started again.
package upgrade

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/cli/installation"
	"github.com/tulle-mesh/tulle/internal/sidecar"
	"github.com/tulle-mesh/tulle/mesh"
)

// Options say what to upgrade, and what may be in the way. The Cluster of the installation's options must be set.
type Options struct {
	installation.Options
	// Force upgrades although proxies would not trust the issuer, or the step between the versions is not supported.
	Force bool
}

// Manifests returns the manifests that upgrade the installation. It returns an error where they would break running
// proxies.
func Manifests(ctx context.Context, o Options) (*installation.Plan, error) {
	o.Reuse = true
	config, err := installation.Config(ctx, o.Cluster, o.Target.Namespace)
	if err != nil && (o.Stored == nil || !apierrors.IsNotFound(err)) {
		return nil, notInstalled(o.Target.Namespace, err)
	}
	plan, err := installation.MakePlan(ctx, o.Options)
	if err != nil {
		return nil, err
	}
	if o.CRDs {
		return plan, nil
	}
	proxies, err := listProxies(ctx, o.Cluster, o.Target.Namespace)
	if err != nil {
		return nil, err
	}
	refusal := checkTrust(ctx, o.Cluster, plan, proxies, o.Target.Namespace)
	if config != nil {
		refusal = errors.Join(checkSteps(installation.Version(config), o.Target.Version, proxies), refusal)
	}
	if refusal != nil && !o.Force {
		return nil, fmt.Errorf("%w\n--force upgrades anyway", refusal)
	}
	if refusal != nil {
		fmt.Fprintln(o.Log, "warning:", refusal)
	}
	return plan, nil
}

func notInstalled(namespace string, err error) error {
	if apierrors.IsNotFound(err) {
		return fmt.Errorf("nothing to upgrade: namespace %s has no installation (no ConfigMap %s); "+
			"to install Tulle: tulle install | kubectl apply -f -", namespace, installation.ConfigMap)
	}
	return fmt.Errorf("read the installation in namespace %s: %w", namespace, err)
}

// listProxies returns the living pods whose proxies belong to the control plane of the namespace.
func listProxies(ctx context.Context, cl *cluster.Client, control string) ([]corev1.Pod, error) {
	pods, err := cl.CoreV1().Pods(metav1.NamespaceAll).List(ctx,
		metav1.ListOptions{LabelSelector: mesh.ControlPlaneNSLabel + "=" + control})
	if err != nil {
		return nil, fmt.Errorf("list pods with proxies: %w", err)
	}
	return slices.DeleteFunc(pods.Items, func(p corev1.Pod) bool {
		return sidecar.Of(&p) == nil || cluster.Finished(&p)
	}), nil
}

// NoteObsolete says on the log when applying the plan leaves objects that prune would print.
func NoteObsolete(ctx context.Context, log io.Writer, cl *cluster.Client, control string, plan *installation.Plan) {
	obsolete, err := installation.Obsolete(ctx, cl, control, plan.ControlPlane)
	switch {
	case err != nil:
		fmt.Fprintln(log, "note: not known whether the upgrade leaves obsolete objects:", err)
	case len(obsolete) > 0:
		var names []string
		for _, o := range obsolete {
			names = append(names, o.Kind+"/"+o.Metadata.Name)
		}
		fmt.Fprintf(log, "note: this version does not use %d objects of the installation: %s\n"+
			"  To delete them when the upgrade is complete: tulle prune | kubectl delete -f -\n", len(names),
			cluster.Abbreviate(names))
	}
}
