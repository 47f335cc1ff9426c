package install

import (
	"embed"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"

	"github.com/tulle-mesh/tulle/injector/inject"
	"github.com/tulle-mesh/tulle/mesh"
)

//go:embed manifests
var manifests embed.FS

// Target is the namespace and the version of an installation.
type Target struct {
	// Namespace is the control plane's; "" means mesh.ControlPlaneNamespace.
	Namespace string
	// Version is that of the CLI, and of the images unless the values set another one.
	Version string
}

// context is the data of the templates.
type context struct {
	Values
	Namespace    string
	CLIVersion   string
	ImageVersion string
	// ProxyValues and InstallValues are YAML for the ConfigMap tulle-config.
	ProxyValues   string
	InstallValues string
}

// component is what differs between the three deployments. The template deployment.yaml has everything else.
type component struct {
	*context
	Name, Component string
	PortName        string
	Port, AdminPort int
	ServicePort     int
	Args            []string
	Resources       Resources
	// MeshIdentity mounts the token and the trust anchors; ProxyConfig mounts tulle-config.
	MeshIdentity, ProxyConfig bool
}

// PrintsTrustRoots reports whether the output includes the trust anchors: the user gave them, and no other tool
// maintains the ConfigMap.
func (c *context) PrintsTrustRoots() bool {
	return c.IdentityTrustAnchorsPEM != "" && !c.Identity.ExternalCA
}

// Mount paths of the control plane.
const (
	tokenFile      = "/var/run/secrets/tulle/token"
	trustRootsFile = "/var/run/tulle/trust-roots/" + mesh.TrustRootsKey
	configFile     = "/var/run/tulle/config/values"
)

// Render returns the manifests of the control plane as a YAML stream, in the order in which they must be applied. The
// same arguments give the same bytes. If Validate refuses the values, the manifests may not apply.
func Render(v Values, t Target) ([]byte, error) {
	c, err := newContext(v, t)
	if err != nil {
		return nil, err
	}
	out, err := NewStream(manifests)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{
		"namespace.yaml", "config.yaml", "credentials.yaml", "identity-rbac.yaml", "destination-rbac.yaml",
		"injector-rbac.yaml",
		"required-policy.yaml", "policy-rules.yaml",
	} {
		if err := out.Add(name, c); err != nil {
			return nil, err
		}
	}
	for _, deployment := range c.components() {
		if err := out.Add("deployment.yaml", deployment); err != nil {
			return nil, err
		}
	}
	if err := out.Add("webhook.yaml", c); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func newContext(v Values, t Target) (*context, error) {
	c := &context{Values: v, Namespace: t.Namespace, CLIVersion: t.Version, ImageVersion: v.Version}
	if c.Namespace == "" {
		c.Namespace = mesh.ControlPlaneNamespace
	}
	if problems := validation.IsDNS1123Label(c.Namespace); problems != nil {
		return nil, fmt.Errorf("namespace of the control plane %q: %s", c.Namespace, strings.Join(problems, "; "))
	}
	if c.ImageVersion == "" {
		c.ImageVersion = t.Version
	}
	proxyValues, err := yaml.Marshal(v.ProxyDefaults(t))
	if err != nil {
		return nil, fmt.Errorf("encode proxy defaults: %w", err)
	}
	public := v
	public.Identity.Issuer.TLS = IssuerTLS{}
	installValues, err := yaml.Marshal(public)
	if err != nil {
		return nil, fmt.Errorf("encode values: %w", err)
	}
	c.ProxyValues, c.InstallValues = string(proxyValues), string(installValues)
	return c, nil
}

// ProxyDefaults returns the injector's defaults for all proxies.
func (v *Values) ProxyDefaults(t Target) inject.Values {
	out := inject.Values{
		ControlPlaneNamespace: t.Namespace,
		ClusterDomain:         v.ClusterDomain,
		TrustDomain:           v.TrustDomain(),
		Version:               v.Version,
		WebhookFailurePolicy:  v.WebhookFailurePolicy,
		PodMaySet:             v.PodMaySet,
		Proxy:                 v.Proxy,
		ProxyInit:             v.ProxyInit,
	}
	if out.ControlPlaneNamespace == "" {
		out.ControlPlaneNamespace = mesh.ControlPlaneNamespace
	}
	if out.Version == "" {
		out.Version = t.Version
	}
	if out.Proxy.Image.PullPolicy == "" {
		out.Proxy.Image.PullPolicy = v.ImagePullPolicy
	}
	return out
}

func (c *context) components() []component {
	return []component{
		{
			context: c, Name: mesh.IdentityName, Component: "identity", PortName: "grpc",
			Port: mesh.IdentityPort, ServicePort: mesh.IdentityPort, AdminPort: mesh.IdentityAdminPort,
			Resources: c.IdentityResources, Args: c.identityArgs(),
		},
		{
			context: c, Name: mesh.DestinationName, Component: "destination", PortName: "grpc",
			Port: mesh.DestinationPort, ServicePort: mesh.DestinationPort, AdminPort: mesh.DestinationAdminPort,
			Resources: c.DestinationResources, Args: c.destinationArgs(), MeshIdentity: true,
		},
		{
			context: c, Name: mesh.InjectorName, Component: "proxy-injector", PortName: "https",
			Port: mesh.InjectorPort, ServicePort: 443, AdminPort: mesh.InjectorAdminPort,
			Resources: c.InjectorResources, ProxyConfig: true,
			Args: append(c.commonArgs("proxy-injector", mesh.InjectorPort, mesh.InjectorAdminPort), "--config-file="+configFile),
		},
	}
}

func (c *context) commonArgs(component string, port, adminPort int) []string {
	return []string{
		component,
		fmt.Sprintf("--addr=:%d", port),
		fmt.Sprintf("--admin-addr=:%d", adminPort),
		"--controller-namespace=" + c.Namespace,
		"--trust-domain=" + c.TrustDomain(),
		"--log-level=" + c.ControllerLogLevel,
		"--log-format=" + c.ControllerLogFormat,
	}
}

func (c *context) identityArgs() []string {
	args := append(c.commonArgs("identity", mesh.IdentityPort, mesh.IdentityAdminPort),
		"--issuance-lifetime="+c.Identity.Issuer.IssuanceLifetime,
		"--clock-skew-allowance="+c.Identity.Issuer.ClockSkewAllowance)
	if c.Identity.Issuer.Scheme == ExternalIssuer {
		args = append(args, "--external-issuer")
	}
	if c.Identity.ExternalCA {
		args = append(args, "--external-trust-roots")
	}
	return args
}

func (c *context) destinationArgs() []string {
	return append(c.commonArgs("destination", mesh.DestinationPort, mesh.DestinationAdminPort),
		"--cluster-domain="+c.ClusterDomain,
		"--cluster-networks="+c.ClusterNetworks,
		"--default-inbound-policy="+string(c.Proxy.DefaultInboundPolicy),
		"--default-opaque-ports="+c.Proxy.OpaquePorts,
		fmt.Sprintf("--identity-addr=%s.%s.svc.%s.:%d", mesh.IdentityName, c.Namespace, c.ClusterDomain, mesh.IdentityPort),
		"--token-file="+tokenFile,
		"--trust-roots-file="+trustRootsFile)
}
