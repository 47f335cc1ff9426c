package mesh

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"
)

// ProxyConfig is everything that the injector tells a proxy, as JSON in the variable ProxyConfigEnv. What differs from
// pod to pod of one template comes from the downward API in variables of its own (PodEnv and the ones beside it). A
// zero duration or size means the proxy's own default; ParseProxyConfig fills in ports, log and identity names.
type ProxyConfig struct {
	ControlPlaneNamespace string `json:"controlPlaneNamespace"`
	TrustDomain           string `json:"trustDomain"`
	ClusterDomain         string `json:"clusterDomain"`
	Version               string `json:"version,omitempty"`
	// IdentityAddr and DestinationAddr are host:port of the control plane; hosts are absolute names.
	IdentityAddr    string `json:"identityAddr"`
	DestinationAddr string `json:"destinationAddr"`
	// TokenFile holds the projected ServiceAccount token; TrustRootsFile the trust anchors. Both are read again on every
	// use.
	TokenFile      string `json:"tokenFile"`
	TrustRootsFile string `json:"trustRootsFile"`

	OutboundPort uint16 `json:"outboundPort,omitempty"`
	InboundPort  uint16 `json:"inboundPort,omitempty"`
	ControlPort  uint16 `json:"controlPort,omitempty"`
	AdminPort    uint16 `json:"adminPort,omitempty"`

	// TapID is the SPIFFE ID of the only workload that may watch the proxy's requests through ControlPort; "" means that
	// nobody may, and nothing listens there.
	TapID string `json:"tapID,omitempty"`
	// TapRedactedHeaders are headers whose values a watcher never sees, beyond those that always are secret.
	TapRedactedHeaders []string `json:"tapRedactedHeaders,omitempty"`
	// TapRedactedParameters are query parameters whose values a watcher never sees, beyond those that always are secret.
	// None, or "*" among them, means all.
	TapRedactedParameters []string `json:"tapRedactedParameters,omitempty"`

	// Tracing says where the proxy sends spans; nil means that it makes none.
	Tracing *Tracing `json:"tracing,omitempty"`

	// DefaultInboundPolicy holds until discovery answered for the first time; then discovery's value does.
	DefaultInboundPolicy AccessPolicy `json:"defaultInboundPolicy,omitempty"`

	LogLevel  string `json:"logLevel,omitempty"`
	LogFormat string `json:"logFormat,omitempty"`
	// AccessLog is "", "apache" or "json".
	AccessLog string `json:"accessLog,omitempty"`

	OutboundConnectTimeout Duration `json:"outboundConnectTimeout,omitempty"`
	InboundConnectTimeout  Duration `json:"inboundConnectTimeout,omitempty"`
	OutboundDetectTimeout  Duration `json:"outboundDetectTimeout,omitempty"`
	InboundDetectTimeout   Duration `json:"inboundDetectTimeout,omitempty"`
	OutboundDiscoveryIdle  Duration `json:"outboundDiscoveryIdle,omitempty"`
	InboundDiscoveryIdle   Duration `json:"inboundDiscoveryIdle,omitempty"`
	ShutdownGrace          Duration `json:"shutdownGrace,omitempty"`
	WaitBeforeExit         Duration `json:"waitBeforeExit,omitempty"`
	// MaxHeaderListBytes bounds a message head and a trailer section, counted as SETTINGS_MAX_HEADER_LIST_SIZE does (RFC
	// 9113 §6.5.2).
	MaxHeaderListBytes int `json:"maxHeaderListBytes,omitempty"`
	// AdminShutdown enables POST /shutdown, from localhost only; Profiling enables /debug/pprof, from localhost only.
	AdminShutdown bool `json:"adminShutdown,omitempty"`
	Profiling     bool `json:"profiling,omitempty"`
	// Workers is how many cores the proxy may use at once (GOMAXPROCS); WorkersRatio is the same as a share of the node's
	// cores, rounded up, and wins. Both zero means one core.
	Workers      int     `json:"workers,omitempty"`
	WorkersRatio float64 `json:"workersRatio,omitempty"`
}

// Bounds of ProxyConfig.MaxHeaderListBytes, where it is not zero. A proxy holds a header list in memory for as long as
// its request lasts.
const (
	LeastHeaderListBytes = 8 << 10
	MostHeaderListBytes  = 1 << 20
)

// Environment of a proxy container.
const (
	ProxyConfigEnv    = "TULLE_PROXY_CONFIG"
	PodEnv            = "TULLE_POD"             // metadata.name
	NamespaceEnv      = "TULLE_NAMESPACE"       // metadata.namespace
	NodeEnv           = "TULLE_NODE"            // spec.nodeName
	ServiceAccountEnv = "TULLE_SERVICE_ACCOUNT" // spec.serviceAccountName
	PodIPsEnv         = "TULLE_POD_IPS"         // status.podIPs, comma separated
	HostIPsEnv        = "TULLE_HOST_IPS"        // status.hostIPs, comma separated: where kubelet probes come from
)

// ParseProxyConfig decodes ProxyConfigEnv's value, fills defaults and validates. A field it does not know is an error:
// injector and proxy come from one release.
func ParseProxyConfig(data []byte) (ProxyConfig, error) {
	var c ProxyConfig
	if err := unmarshalStrict(data, &c); err != nil {
		return ProxyConfig{}, fmt.Errorf("parse %s: %w", ProxyConfigEnv, err)
	}
	c.setDefaults()
	if _, err := ParseAccessPolicy(string(c.DefaultInboundPolicy)); err != nil {
		return ProxyConfig{}, fmt.Errorf("parse %s: defaultInboundPolicy: %w", ProxyConfigEnv, err)
	}
	if c.TapID != "" {
		if _, err := ParseID(c.TapID); err != nil {
			return ProxyConfig{}, fmt.Errorf("parse %s: tapID: %w", ProxyConfigEnv, err)
		}
	}
	if c.Tracing != nil {
		if err := c.Tracing.Validate(); err != nil {
			return ProxyConfig{}, fmt.Errorf("parse %s: tracing: %w", ProxyConfigEnv, err)
		}
	}
	if n := c.MaxHeaderListBytes; n != 0 && (n < LeastHeaderListBytes || n > MostHeaderListBytes) {
		return ProxyConfig{}, fmt.Errorf("parse %s: maxHeaderListBytes %d: want %d to %d", ProxyConfigEnv, n,
			LeastHeaderListBytes, MostHeaderListBytes)
	}
	for name, value := range map[string]string{
		"identityAddr": c.IdentityAddr, "destinationAddr": c.DestinationAddr, "tokenFile": c.TokenFile,
		"trustRootsFile": c.TrustRootsFile,
	} {
		if value == "" {
			return ProxyConfig{}, fmt.Errorf("parse %s: %s is missing", ProxyConfigEnv, name)
		}
	}
	return c, nil
}

func (c *ProxyConfig) setDefaults() {
	setDefault(&c.ControlPlaneNamespace, ControlPlaneNamespace)
	setDefault(&c.TrustDomain, DefaultTrustDomain)
	setDefault(&c.ClusterDomain, DefaultClusterDomain)
	setDefault(&c.OutboundPort, OutboundPort)
	setDefault(&c.InboundPort, InboundPort)
	setDefault(&c.ControlPort, ControlPort)
	setDefault(&c.AdminPort, AdminPort)
	setDefault(&c.DefaultInboundPolicy, AllUnauthenticated)
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// CaptureConfig is what `tulle-proxy init` programs into the pod's network namespace, as JSON in the variable
// CaptureConfigEnv.
type CaptureConfig struct {
	OutboundPort uint16 `json:"outboundPort"`
	InboundPort  uint16 `json:"inboundPort"`
	ProxyUID     uint32 `json:"proxyUID"`
	// SkipInboundPorts and SkipOutboundPorts are not captured. Ranges are inclusive and sorted.
	SkipInboundPorts  PortSet `json:"skipInboundPorts,omitempty"`
	SkipOutboundPorts PortSet `json:"skipOutboundPorts,omitempty"`
	// SkipSubnets are destinations (outbound) and sources (inbound) that are not captured.
	SkipSubnets []netip.Prefix `json:"skipSubnets,omitempty"`
}

// CaptureConfigEnv names the variable that holds a CaptureConfig.
const CaptureConfigEnv = "TULLE_CAPTURE_CONFIG"

// ParseCaptureConfig decodes CaptureConfigEnv's value; an unknown field is an error.
func ParseCaptureConfig(data []byte) (CaptureConfig, error) {
	var c CaptureConfig
	if err := unmarshalStrict(data, &c); err != nil {
		return CaptureConfig{}, fmt.Errorf("parse %s: %w", CaptureConfigEnv, err)
	}
	setDefault(&c.OutboundPort, OutboundPort)
	setDefault(&c.InboundPort, InboundPort)
	setDefault(&c.ProxyUID, ProxyUID)
	return c, nil
}

// Duration is a time.Duration that reads and writes as Go's duration text ("1m30s") in JSON.
type Duration time.Duration

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler; a negative duration is an error.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return err
	}
	if v < 0 {
		return fmt.Errorf("duration %s is negative", text)
	}
	*d = Duration(v)
	return nil
}

func unmarshalStrict(data []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("trailing data")
	}
	return nil
}
