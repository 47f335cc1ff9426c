package mesh

// Names that manifests, dashboards and habits of Linkerd's users rely on. Annotations that tune one proxy live in the
// settings table of injector/inject; here are the ones that more than one package reads.
const (
	// InjectAnnotation on a namespace or a pod asks for a proxy: "enabled", "ingress" or "disabled"; the pod's wins.
	InjectAnnotation = "linkerd.io/inject"
	// ConfigPrefix begins every annotation that configures a proxy.
	ConfigPrefix = "config.linkerd.io/"
	// OwnConfigPrefix begins the annotations that Linkerd does not have.
	OwnConfigPrefix = "config.tulle.dev/"
	// EnforceLabel with the value EnforceRequired on a namespace makes injection mandatory for its pods: opting out, the
	// host's network and bypassed ports are refused there. A label, because webhooks and policies can select by it.
	EnforceLabel    = "tulle.dev/injection"
	EnforceRequired = "required"
	// OpaquePortsAnnotation on a Service, pod or namespace lists ports and ranges that carry TCP without detection.
	OpaquePortsAnnotation = ConfigPrefix + "opaque-ports"
	// SkipInboundPortsAnnotation lists the ports of a pod that bypass its proxy; a peer must not speak mesh TLS to them.
	SkipInboundPortsAnnotation = ConfigPrefix + "skip-inbound-ports"
	// DefaultInboundPolicyAnnotation on a pod or namespace holds an AccessPolicy.
	DefaultInboundPolicyAnnotation = ConfigPrefix + "default-inbound-policy"
	// RequireIdentityPortsAnnotation lists the ports of a pod that refuse peers without mesh TLS.
	RequireIdentityPortsAnnotation = ConfigPrefix + "proxy-require-identity-inbound-ports"

	// ControlPlaneNSLabel on a pod says which control plane injected its proxy; a pod without it has no identity.
	ControlPlaneNSLabel = "linkerd.io/control-plane-ns"
	// WorkloadNSLabel repeats the pod's namespace for dashboards.
	WorkloadNSLabel = "linkerd.io/workload-ns"
	// ControlPlaneComponentLabel names the component on control-plane objects.
	ControlPlaneComponentLabel = "linkerd.io/control-plane-component"
	// DisableTapAnnotation with the value "true" on a namespace or a pod means that nobody may watch its requests.
	DisableTapAnnotation = "viz.linkerd.io/disable-tap"
	// ExtensionLabel on a namespace names the extension that it is for, on other objects the one that they belong to.
	ExtensionLabel = "linkerd.io/extension"
	VizExtension   = "viz"
	// ProxyVersionAnnotation records which proxy a pod was injected with.
	ProxyVersionAnnotation = "linkerd.io/proxy-version"
	// CreatedByAnnotation records which tool made an object.
	CreatedByAnnotation = "linkerd.io/created-by"
	// PolicyWarnAnnotation on a namespace asks for warnings about changes of policy that cut callers off.
	PolicyWarnAnnotation = "policy.tulle.dev/warn"
)

// Names of Tulle's own objects.
const (
	ControlPlaneNamespace = "tulle"

	IdentityName    = "tulle-identity"
	DestinationName = "tulle-destination"
	InjectorName    = "tulle-proxy-injector"

	// VizNamespace is the namespace of the viz extension, TapName the ServiceAccount of its tap server, and the others
	// those of the servers of its numbers and of its dashboard.
	VizNamespace   = "tulle-viz"
	TapName        = "tap"
	MetricsAPIName = "metrics-api"
	WebName        = "web"
	// TapSecret holds the certificate that the tap server shows to the API server; TapAPIService is its aggregated API.
	TapSecret     = "tap-tls"
	TapAPIService = "v1alpha1.tap.linkerd.io"
	// PolicyWarningsSecret holds the certificate that metrics-api shows to the API server; PolicyWarningsWebhook is the
	// webhook configuration that names it.
	PolicyWarningsSecret  = "metrics-api-tls"
	PolicyWarningsWebhook = "tulle-viz-policy-warnings"

	// InstallConfigMap holds the values of the installation, under the key install.
	InstallConfigMap = "tulle-config"

	ProxyContainer = "tulle-proxy"
	InitContainer  = "tulle-init"

	// TrustRootsConfigMap holds the trust anchors, PEM, under TrustRootsKey; the identity controller keeps one in every
	// namespace.
	TrustRootsConfigMap = "tulle-identity-trust-roots"
	TrustRootsKey       = "ca-bundle.crt"
	// IssuerKeyKey, in the same ConfigMap, is the key identifier of the issuer, in hex. A proxy whose certificate is of
	// another issuer gets a new one soon.
	IssuerKeyKey = "issuer-key-id"
	// ReplaceAnchorAnnotation, on the bundle's ConfigMap, requests a new anchor, once for each value. A request is done
	// when the MadeForAnnotation of the anchor's Secret has its value.
	ReplaceAnchorAnnotation = "tulle.dev/replace-anchor"
	MadeForAnnotation       = "tulle.dev/made-for"
	// IssuerSwitchAnnotation, on the bundle's ConfigMap, says when the issuer moves to a new anchor: IssuerSwitchLater (at
	// its regular renewal) or IssuerSwitchNow. Without it, the issuer moves three minutes after the anchor was made.
	IssuerSwitchAnnotation = "tulle.dev/issuer-switch"
	IssuerSwitchLater      = "later"
	IssuerSwitchNow        = "now"
	// RevokedAnnotation, on the control plane's namespace, lists certificates and ServiceAccounts that proxies refuse.
	RevokedAnnotation = "policy.tulle.dev/revoked"
	// RotationAnnotation, on the bundle's ConfigMap, is the state of `tulle identity rotate`.
	RotationAnnotation = "tulle.dev/rotation"
	// IssuerSecret holds the issuer's certificate and key, in namespace ControlPlaneNamespace.
	IssuerSecret = "tulle-identity-issuer"
	// AnchorSecret holds the trust anchor that the identity controller made, with its key.
	AnchorSecret = "tulle-identity-trust-anchor"
	// MadeIssuerAnnotation marks an issuer that the identity controller made: the first 16 bytes of the SHA-256 of its
	// certificate, in hex.
	MadeIssuerAnnotation = "tulle.dev/made-issuer"
	// InjectorSecret holds the certificate of the injector's webhook, WebhookConfiguration is what the installation
	// writes.
	InjectorSecret       = "tulle-proxy-injector-tls"
	WebhookConfiguration = "tulle-proxy-injector-webhook-config"
	// VersionLabel of a control-plane pod says which release it runs.
	VersionLabel = "app.kubernetes.io/version"
	// TokenAudience is the only audience that the identity controller accepts.
	TokenAudience = "identity.tulle.dev"

	// TokenFile is where a proxy finds its ServiceAccount token, TrustRootsDir where the trust anchors are mounted: the
	// directory, not the file, so that a rotation arrives.
	TokenFile     = "/var/run/secrets/tulle/token"
	TrustRootsDir = "/var/run/tulle/trust-roots"

	DefaultTrustDomain   = "cluster.local"
	DefaultClusterDomain = "cluster.local"
	DefaultOpaquePorts   = "25,587,3306,4444,5432,6379,9300,11211"
)

// Ports of the proxy and of the control plane.
const (
	OutboundPort = 4140
	InboundPort  = 4143
	ControlPort  = 4190
	AdminPort    = 4191
	// ProxyUID is the user that the proxy runs as; its own traffic is not captured.
	ProxyUID = 2102

	IdentityPort         = 8080
	DestinationPort      = 8086
	InjectorPort         = 8443
	IdentityAdminPort    = 9990
	InjectorAdminPort    = 9995
	DestinationAdminPort = 9996

	MetricsAPIPort      = 8085
	MetricsAPIAdminPort = 9995
	PolicyWarningsPort  = 8443
	TapPort             = 8089
	TapAdminPort        = 9998
	WebPort             = 8084
	WebAdminPort        = 9994
)

// ALPN values of mesh TLS. They tell a peer's proxy from an application's own TLS in the ClientHello, and what is
// inside.
const (
	// ALPNMux is mesh TLS that carries HTTP/2 frames: many requests on one shared connection.
	ALPNMux = "tulle.dev/h2"
	// ALPNRelay is mesh TLS that carries one opaque connection.
	ALPNRelay = "tulle.dev/tcp"
)
