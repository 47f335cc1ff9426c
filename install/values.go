// Package install renders the manifests of Tulle's control plane.
//
// It owns the values that an installation may change, how --set and values files change them, and the manifest
// templates. values.yaml is the schema of the values, with defaults and documentation. It must not import client-go or
// read a cluster. The one idea: Render is a pure function of Values. Its output is always the same bytes, and has no
// secrets unless the user set them.
package install

import (
	_ "embed"
	"fmt"

	"sigs.k8s.io/yaml"

	"github.com/tulle-mesh/tulle/injector/inject"
)

//go:embed values.yaml
var defaultValues []byte

//go:embed values-ha.yaml
var haValues []byte

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
	if err := yaml.UnmarshalStrict(defaultValues, &v); err != nil {
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
