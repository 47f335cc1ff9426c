// Package install knows the values of an installation of Tulle's control plane.
//
// It owns the values that an installation may change, how --set and values files change them, and which values are
// mistakes. The chart's values.yaml is the list of the keys, with defaults and documentation. It must not import
// client-go or Helm, or read a cluster: the controller uses it too. The one idea: an installation is a pure function of
// Values; package manifests renders it.
package install

import (
	"cmp"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"

	"github.com/tulle-mesh/tulle/injector/inject"
	"github.com/tulle-mesh/tulle/install/chart"
	"github.com/tulle-mesh/tulle/mesh"
)

// Target is the namespace and the version of an installation.
type Target struct {
	// Namespace is the control plane's; "" means mesh.ControlPlaneNamespace.
	Namespace string
	// Version is that of the CLI, and of the images unless the values set another one.
	Version string
}

// WithDefaults returns the target with its namespace, or an error for one that cannot be.
func (t Target) WithDefaults() (Target, error) {
	t.Namespace = cmp.Or(t.Namespace, mesh.ControlPlaneNamespace)
	if problems := validation.IsDNS1123Label(t.Namespace); problems != nil {
		return t, fmt.Errorf("namespace of the control plane %q: %s", t.Namespace, strings.Join(problems, "; "))
	}
	return t, nil
}

// Renderer returns the manifests of the control plane as a YAML stream, in the order in which they must be applied. It
// is manifests.Render; the controller has none, since it must not link Helm.
type Renderer func(Values, Target) ([]byte, error)

// Values configures one installation. values.yaml documents all keys; Overrides builds a Values.
type Values struct {
	ClusterDomain   string `json:"clusterDomain"`
	ClusterNetworks string `json:"clusterNetworks"`

	InstallGatewayAPI bool `json:"installGatewayAPI"`

	Version          string          `json:"linkerdVersion"`
	ImagePullPolicy  string          `json:"imagePullPolicy"`
	ImagePullSecrets []LocalObjectID `json:"imagePullSecrets"`

	ControllerImage           string            `json:"controllerImage"`
	ControllerReplicas        int               `json:"controllerReplicas"`
	ControllerLogLevel        string            `json:"controllerLogLevel"`
	ControllerLogFormat       string            `json:"controllerLogFormat"`
	ControllerUID             int64             `json:"controllerUID"`
	ControllerGID             int64             `json:"controllerGID"`
	PodAnnotations            map[string]string `json:"podAnnotations"`
	PodLabels                 map[string]string `json:"podLabels"`
	PriorityClassName         string            `json:"priorityClassName"`
	NodeSelector              map[string]string `json:"nodeSelector"`
	Tolerations               []Toleration      `json:"tolerations"`
	EnablePodAntiAffinity     bool              `json:"enablePodAntiAffinity"`
	EnablePodDisruptionBudget bool              `json:"enablePodDisruptionBudget"`

	IdentityResources    Resources `json:"identityResources"`
	DestinationResources Resources `json:"destinationResources"`
	InjectorResources    Resources `json:"proxyInjectorResources"`

	IdentityTrustDomain     string   `json:"identityTrustDomain"`
	IdentityTrustAnchorsPEM string   `json:"identityTrustAnchorsPEM"`
	Identity                Identity `json:"identity"`

	WebhookFailurePolicy inject.FailurePolicy `json:"webhookFailurePolicy"`
	Injector             Injector             `json:"proxyInjector"`

	PodMaySet []string               `json:"podMaySet"`
	Proxy     inject.ProxyValues     `json:"proxy"`
	ProxyInit inject.ProxyInitValues `json:"proxyInit"`
}

// Identity configures the identity controller.
type Identity struct {
	ExternalCA bool   `json:"externalCA"`
	Issuer     Issuer `json:"issuer"`
}

// Issuer configures the source of the issuing certificate, and the certificates that it issues.
type Issuer struct {
	Scheme             string    `json:"scheme"`
	ClockSkewAllowance string    `json:"clockSkewAllowance"`
	IssuanceLifetime   string    `json:"issuanceLifetime"`
	TLS                IssuerTLS `json:"tls"`
}

// The two types of an issuer Secret.
const (
	OwnIssuer      = "linkerd.io/tls"
	ExternalIssuer = "kubernetes.io/tls"
)

// IssuerTLS is the user's own issuer. Both fields are PEM, and empty unless the user set them.
type IssuerTLS struct {
	CrtPEM string `json:"crtPEM"`
	KeyPEM string `json:"keyPEM"`
}

// Injector configures the injector's webhook.
type Injector struct {
	TimeoutSeconds int `json:"timeoutSeconds"`
}

// Defaults returns the values of a plain `tulle install`.
func Defaults() Values {
	var v Values
	if err := yaml.UnmarshalStrict(chart.DefaultValues, &v); err != nil {
		panic(fmt.Sprintf("install: values.yaml does not fit Values: %v", err))
	}
	return v
}

// TrustDomain returns the trust domain of all identities.
func (v *Values) TrustDomain() string {
	if v.IdentityTrustDomain != "" {
		return v.IdentityTrustDomain
	}
	return v.ClusterDomain
}

// Tree returns the values with all keys of values.yaml, as the chart's templates read them.
func (v *Values) Tree() (map[string]any, error) { return schema.Complete(v) }

// ProxyDefaults returns the injector's defaults for all proxies. The chart's template tulle.proxy-defaults writes the
// same.
func (v *Values) ProxyDefaults(t Target) inject.Values {
	out := inject.Values{
		ControlPlaneNamespace: cmp.Or(t.Namespace, mesh.ControlPlaneNamespace),
		ClusterDomain:         v.ClusterDomain,
		TrustDomain:           v.TrustDomain(),
		Version:               cmp.Or(v.Version, t.Version),
		WebhookFailurePolicy:  v.WebhookFailurePolicy,
		PodMaySet:             v.PodMaySet,
		Proxy:                 v.Proxy,
		ProxyInit:             v.ProxyInit,
	}
	if out.Proxy.Image.PullPolicy == "" {
		out.Proxy.Image.PullPolicy = v.ImagePullPolicy
	}
	return out
}
