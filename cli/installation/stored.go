package installation

import (
	"context"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/tulle-mesh/tulle/cli/manifest"
	"github.com/tulle-mesh/tulle/install"
	"github.com/tulle-mesh/tulle/mesh"
)

// Version returns the version of the CLI that wrote the installation; "" if its ConfigMap does not say.
func Version(config *corev1.ConfigMap) string {
	return strings.TrimPrefix(config.Annotations[mesh.CreatedByAnnotation], "tulle/cli ")
}

// Stored is what manifests that were applied once say about an installation.
type Stored struct {
	Config *corev1.ConfigMap
	// Issuer is the Secret of the user's own issuer; nil if the manifests do not have it.
	Issuer *corev1.Secret
}

// ReadStored finds the installation of a namespace among the objects of a source of manifests.
func ReadStored(source string, objects []*manifest.Object, namespace string) (*Stored, error) {
	var found Stored
	var others []string
	for _, o := range objects {
		var into any
		switch mine := o.Meta("namespace") == namespace; {
		case o.Kind() == "ConfigMap" && o.Meta("name") == ConfigMap && mine:
			found.Config = &corev1.ConfigMap{}
			into = found.Config
		case o.Kind() == "ConfigMap" && o.Meta("name") == ConfigMap:
			others = append(others, o.Meta("namespace"))
			continue
		case o.Kind() == "Secret" && o.Meta("name") == mesh.IssuerSecret && mine:
			found.Issuer = &corev1.Secret{}
			into = found.Issuer
		default:
			continue
		}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Tree, into); err != nil {
			return nil, fmt.Errorf("%s: read %s: %w", source, o.Name(), err)
		}
	}
	switch {
	case found.Config != nil:
		return &found, nil
	case others != nil:
		return nil, fmt.Errorf("%s: the installation of these manifests is in namespace %s and not in %s: add -L %s", source,
			others[0], namespace, others[0])
	}
	return nil, fmt.Errorf("%s: there is no ConfigMap %s among these manifests: want the output of tulle install", source,
		ConfigMap)
}

// addIssuer adds the issuer of the manifests, so that they keep their Secret.
func (s *Stored) addIssuer(o *install.Overrides) error {
	if s.Issuer == nil {
		return nil
	}
	tls := IssuerOf(s.Issuer)
	for key, value := range map[string]string{
		"identity.issuer.tls.crtPEM": tls.CrtPEM, "identity.issuer.tls.keyPEM": tls.KeyPEM,
	} {
		if err := o.SetKey("Secret "+mesh.IssuerSecret, key, value); err != nil {
			return err
		}
	}
	return nil
}

// IssuerOf returns the certificate and the key of a Secret of either type.
func IssuerOf(secret *corev1.Secret) install.IssuerTLS {
	if crt := secret.Data[corev1.TLSCertKey]; len(crt) > 0 {
		return install.IssuerTLS{CrtPEM: string(crt), KeyPEM: string(secret.Data[corev1.TLSPrivateKeyKey])}
	}
	return install.IssuerTLS{CrtPEM: string(secret.Data["crt.pem"]), KeyPEM: string(secret.Data["key.pem"])}
}

// ownIssuer returns the user's own issuer as the cluster has it, to validate the other values with it. missing is what
// the user gets to read where there is no cluster to ask.
func (o *Options) ownIssuer(ctx context.Context, missing error) (install.IssuerTLS, error) {
	if o.Cluster == nil {
		return install.IssuerTLS{}, missing
	}
	secret, err := o.Cluster.CoreV1().Secrets(o.Target.Namespace).Get(ctx, mesh.IssuerSecret, metav1.GetOptions{})
	if err != nil {
		return install.IssuerTLS{}, fmt.Errorf("%w; or keep the one in the cluster, which cannot be read: %w", missing, err)
	}
	tls := IssuerOf(secret)
	if tls.CrtPEM == "" || tls.KeyPEM == "" {
		return tls, errors.Join(missing, fmt.Errorf("Secret %s/%s has no issuer to keep", secret.Namespace, secret.Name))
	}
	return tls, nil
}
