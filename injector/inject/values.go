package inject

import (
	"errors"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
	"sigs.k8s.io/yaml"

	"github.com/tulle-mesh/tulle/mesh"
)

// Values are the defaults that an installation gives to every proxy. Field names in JSON and YAML are the keys of
// Linkerd's chart where it has one, so that `--set proxy.logLevel=debug` means the same. Defaults returns a complete
// value; the zero Values is only a base to decode into. A Values is plain data: copy it to change it.
type Values struct {
	// ControlPlaneNamespace is where the control plane runs; pods in it are never injected.
	ControlPlaneNamespace string `json:"controlPlaneNamespace,omitempty"`
	ClusterDomain         string `json:"clusterDomain,omitempty"`
	TrustDomain           string `json:"identityTrustDomain,omitempty"`
	// Version is the release of the control plane; it is the proxy image's tag unless Proxy.Image.Version is set.
	Version string `json:"version,omitempty"`
	// IdentityAddr and DestinationAddr are host:port; empty means the Services of ControlPlaneNamespace under
	// ClusterDomain.
	IdentityAddr    string `json:"identityAddr,omitempty"`
	DestinationAddr string `json:"destinationAddr,omitempty"`
	// WebhookFailurePolicy says what happens to pods of namespaces that opted in while no injector answers: FailClosed
	// refuses them, FailOpen starts them without a proxy. Everywhere else a pod always starts.
	WebhookFailurePolicy FailurePolicy `json:"webhookFailurePolicy,omitempty"`
	// PodMaySet lists annotation names, without their prefix, that a pod may set although they are the administrator's by
	// default (see Settings). A namespace may always set them.
	PodMaySet []string `json:"podMaySet,omitempty"`

	Proxy     ProxyValues     `json:"proxy"`
	ProxyInit ProxyInitValues `json:"proxyInit"`
}

// FailurePolicy is what a missing injector means for a pod that should be injected.
type FailurePolicy string

// The two failure policies, spelled as in a webhook configuration.
const (
	FailClosed FailurePolicy = "Fail"
	FailOpen   FailurePolicy = "Ignore"
)

// ProxyValues are the defaults of the tulle-proxy container.
type ProxyValues struct {
	Image     Image     `json:"image"`
	UID       int64     `json:"uid,omitempty"` // not 0: the proxy never runs as root
	GID       int64     `json:"gid,omitempty"` // group; 0 and below: none
	Ports     Ports     `json:"ports"`
	Resources Resources `json:"resources"`

	// Tap says who may watch the requests of a proxy, through its control port.
	Tap TapValues `json:"tap"`

	// Tracing says where a proxy sends spans, and which traces it starts.
	Tracing TracingValues `json:"tracing"`

	LogLevel  string `json:"logLevel,omitempty"`
	LogFormat string `json:"logFormat,omitempty"` // plain or json
	AccessLog string `json:"accessLog,omitempty"` // "", apache or json

	DefaultInboundPolicy mesh.AccessPolicy `json:"defaultInboundPolicy,omitempty"`
	OpaquePorts          string            `json:"opaquePorts,omitempty"`
	// RequireIdentityOnInboundPorts lists ports that refuse peers without mesh TLS.
	RequireIdentityOnInboundPorts string `json:"requireIdentityOnInboundPorts,omitempty"`

	OutboundConnectTimeout mesh.Duration `json:"outboundConnectTimeout,omitempty"`
	InboundConnectTimeout  mesh.Duration `json:"inboundConnectTimeout,omitempty"`
	OutboundDiscoveryIdle  mesh.Duration `json:"outboundDiscoveryCacheUnusedTimeout,omitempty"`
	InboundDiscoveryIdle   mesh.Duration `json:"inboundDiscoveryCacheUnusedTimeout,omitempty"`
	// The two switches make protocol detection wait for the first bytes as long as the connection lasts.
	DisableOutboundDetectTimeout bool `json:"disableOutboundProtocolDetectTimeout,omitempty"`
	DisableInboundDetectTimeout  bool `json:"disableInboundProtocolDetectTimeout,omitempty"`

	// MaxHeaderListSize bounds the head and the trailers of a message, as a Kubernetes quantity of bytes; "" means the
	// proxy's own default.
	MaxHeaderListSize string `json:"maxHeaderListSize,omitempty"`

	// ShutdownGrace bounds how long a proxy drains after SIGTERM; zero means the proxy's own default, 120 s.
	ShutdownGrace         mesh.Duration `json:"shutdownGracePeriod,omitempty"`
	WaitBeforeExitSeconds uint32        `json:"waitBeforeExitSeconds,omitempty"`
	// POST /shutdown on the admin port, from localhost
	EnableShutdown bool `json:"enableShutdownEndpoint,omitempty"`
	// NativeSidecar runs the proxy as an init container that keeps running (Kubernetes 1.29); false as an ordinary
	// container.
	NativeSidecar bool `json:"nativeSidecar"`
	// Await holds the application's start until the proxy is ready. It needs NativeSidecar.
	Await bool `json:"await"`
	// AdditionalEnv is added to the proxy container. Names that begin with TULLE_ are refused.
	AdditionalEnv []EnvVar `json:"additionalEnv,omitempty"`
}

// Image names a container image.
type Image struct {
	Name       string `json:"name,omitempty"`
	Version    string `json:"version,omitempty"`    // "" means Values.Version
	PullPolicy string `json:"pullPolicy,omitempty"` // Always, IfNotPresent or Never
}

// Ports are the proxy's listening ports.
type Ports struct {
	Admin    uint16 `json:"admin,omitempty"`
	Control  uint16 `json:"control,omitempty"`
	Inbound  uint16 `json:"inbound,omitempty"`
	Outbound uint16 `json:"outbound,omitempty"`
}

// TapValues name the one workload that may watch requests.
type TapValues struct {
	Enabled        TapMode `json:"enabled"`
	Namespace      string  `json:"namespace,omitempty"`
	ServiceAccount string  `json:"serviceAccount,omitempty"`
	// RedactedHeaders lists headers, separated by commas, whose values it never sees, beyond those that always are secret.
	RedactedHeaders string `json:"redactedHeaders,omitempty"`
	// RedactedParameters lists query parameters in the same way. "" and "*" mean all of them.
	RedactedParameters string `json:"redactedParameters,omitempty"`
	// Offered is what TapAuto asks for: that Namespace is the viz extension's, whose installation turned tap on. Who knows
	// the cluster sets it.
	Offered bool `json:"-"`
}

// TapMode says whether the workload may watch.
type TapMode string

// The modes. TapAuto means on where TapValues.Offered is set, and off everywhere else.
const (
	TapAuto TapMode = "auto"
	TapOn   TapMode = "true"
	TapOff  TapMode = "false"
)

// tapModes are the texts that name a mode.
var tapModes = map[string]TapMode{"auto": TapAuto, "true": TapOn, "enabled": TapOn, "false": TapOff, "disabled": TapOff}

// UnmarshalJSON accepts a text, and true and false as they are.
func (m *TapMode) UnmarshalJSON(data []byte) error {
	mode, ok := tapModes[strings.Trim(string(data), `"`)]
	if !ok {
		return fmt.Errorf("tap %s: want auto, true or false", data)
	}
	*m = mode
	return nil
}

// id returns the SPIFFE ID of the workload; "" if nobody may watch.
func (t TapValues) id(trustDomain string) string {
	if t.Enabled != TapOn && (t.Enabled != TapAuto || !t.Offered) {
		return ""
	}
	return mesh.ID{TrustDomain: trustDomain, Namespace: t.Namespace, ServiceAccount: t.ServiceAccount}.String()
}

// Resources are requests and limits as Kubernetes quantities; "" leaves one out.
type Resources struct {
	CPU              CPU   `json:"cpu"`
	Memory           Bound `json:"memory"`
	EphemeralStorage Bound `json:"ephemeral-storage"`
}

// Bound is a request and a limit.
type Bound struct {
	Request string `json:"request,omitempty"`
	Limit   string `json:"limit,omitempty"`
}

// CPU is a Bound and, as an alternative to a limit, the share of the node's cores that the proxy's threads may use, 0 <
// x <= 1.
type CPU struct {
	Request    string  `json:"request,omitempty"`
	Limit      string  `json:"limit,omitempty"`
	RatioLimit float64 `json:"ratioLimit,omitempty"`
}

// EnvVar is one variable of AdditionalEnv.
type EnvVar struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// ProxyInitValues are the defaults of traffic capture.
type ProxyInitValues struct {
	IgnoreInboundPorts  string `json:"ignoreInboundPorts,omitempty"`
	IgnoreOutboundPorts string `json:"ignoreOutboundPorts,omitempty"`
	SkipSubnets         string `json:"skipSubnets,omitempty"` // comma-separated CIDRs
	// Resources of tulle-init; nil means those of the proxy, which costs the scheduler nothing and keeps a pod's QoS
	// class.
	Resources *Resources `json:"resources,omitempty"`
}

// Defaults returns the values of a plain installation.
func Defaults() Values {
	return Values{
		ControlPlaneNamespace: mesh.ControlPlaneNamespace,
		ClusterDomain:         mesh.DefaultClusterDomain,
		TrustDomain:           mesh.DefaultTrustDomain,
		Version:               "dev",
		WebhookFailurePolicy:  FailClosed,
		Proxy: ProxyValues{
			Image: Image{Name: "ghcr.io/tulle-mesh/proxy", PullPolicy: "IfNotPresent"},
			UID:   mesh.ProxyUID,
			Ports: Ports{
				Admin: mesh.AdminPort, Control: mesh.ControlPort, Inbound: mesh.InboundPort, Outbound: mesh.OutboundPort,
			},
			Tap: TapValues{Enabled: TapAuto, Namespace: mesh.VizNamespace, ServiceAccount: mesh.TapName,
				RedactedParameters: "*"},
			Tracing:              TracingValues{SamplingRatio: 0.1},
			Resources:            Resources{CPU: CPU{Request: "10m"}, Memory: Bound{Request: "20Mi"}},
			LogLevel:             "info",
			LogFormat:            "plain",
			DefaultInboundPolicy: mesh.AllUnauthenticated,
			OpaquePorts:          mesh.DefaultOpaquePorts,
			NativeSidecar:        true,
			Await:                true,
		},
		ProxyInit: ProxyInitValues{IgnoreInboundPorts: "4567,4568", IgnoreOutboundPorts: "4567,4568"},
	}
}

// ParseValues decodes YAML or JSON over Defaults. An unknown key and a value that Validate refuses are errors.
func ParseValues(data []byte) (Values, error) {
	v := Defaults()
	if err := yaml.UnmarshalStrict(data, &v); err != nil {
		return Values{}, fmt.Errorf("parse injection values: %w", err)
	}
	if err := v.Validate(); err != nil {
		return Values{}, fmt.Errorf("parse injection values: %w", err)
	}
	return v, nil
}

// Addresses returns the control plane's addresses: identity, then destination.
func (v Values) Addresses() (identity, destination string) {
	identity, destination = v.IdentityAddr, v.DestinationAddr
	if identity == "" {
		identity = v.serviceAddr(mesh.IdentityName, mesh.IdentityPort)
	}
	if destination == "" {
		destination = v.serviceAddr(mesh.DestinationName, mesh.DestinationPort)
	}
	return identity, destination
}

// serviceAddr ends the host with a dot: an absolute name is one DNS query instead of one for each search domain.
func (v Values) serviceAddr(service string, port uint16) string {
	return fmt.Sprintf("%s.%s.svc.%s.:%d", service, v.ControlPlaneNamespace, v.ClusterDomain, port)
}

// ImageRef returns the proxy image with its tag or digest.
func (v Values) ImageRef() string {
	version := v.Proxy.Image.Version
	if version == "" {
		version = v.Version
	}
	if len(version) > 7 && version[:7] == "sha256:" {
		return v.Proxy.Image.Name + "@" + version
	}
	return v.Proxy.Image.Name + ":" + version
}

func checkQuantity(text string) error {
	q, err := resource.ParseQuantity(text)
	if err == nil && q.Sign() < 0 {
		err = errors.New("negative")
	}
	return err
}
