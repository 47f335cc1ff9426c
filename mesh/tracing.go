package mesh

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// Tracing is what the injector tells a proxy about spans: where they go, and which traces it starts.
type Tracing struct {
	// Collector is host:port for OTLP over gRPC, or a URL http://host:port for OTLP over HTTP; see ParseCollector.
	Collector string `json:"collector"`
	// CollectorID is the SPIFFE ID that the collector must prove over mesh TLS; "" means plaintext.
	CollectorID string `json:"collectorID,omitempty"`
	// SamplingRatio is the share of the requests without a trace for which the proxy starts one, 0 to 1.
	SamplingRatio float64 `json:"samplingRatio,omitempty"`
	// ServiceName is the service.name of the spans; Workload names the owner of the pod, such as deployment/web.
	ServiceName string `json:"serviceName"`
	Workload    string `json:"workload,omitempty"`
	// Interval is the longest time that a span waits for others before both are sent; 0 is 5 s.
	Interval Duration `json:"interval,omitempty"`
}

// Validate reports what a proxy cannot use.
func (t *Tracing) Validate() error {
	if _, err := ParseCollector(t.Collector); err != nil {
		return fmt.Errorf("collector %q: %w", t.Collector, err)
	}
	if t.CollectorID != "" {
		if _, err := ParseID(t.CollectorID); err != nil {
			return fmt.Errorf("collectorID: %w", err)
		}
	}
	if !(t.SamplingRatio >= 0 && t.SamplingRatio <= 1) { // written so that NaN is refused
		return fmt.Errorf("samplingRatio %v: want 0 to 1", t.SamplingRatio)
	}
	return nil
}

// Collector is where spans go: Addr is host:port. With HTTP, spans are posted to Path.
type Collector struct {
	Addr string
	HTTP bool
	Path string
}

// WantCollector says what ParseCollector accepts, as the end of "want ...".
const WantCollector = "host:port for OTLP over gRPC, or http://host:port for OTLP over HTTP, which port 4318 speaks"

// otlpHTTPPort is the port that IANA registered for OTLP over HTTP; 4317 is the one of gRPC.
const otlpHTTPPort = 4318

// ParseCollector reads the address of a collector: host:port speaks OTLP over gRPC, http://host:port[/path] speaks OTLP
// over HTTP with protobuf. The default path is /v1/traces. TLS of the collector's own is not supported, and neither are
// credentials: a meshed collector has mesh TLS, and passes spans on to what needs more.
func ParseCollector(s string) (Collector, error) {
	scheme, _, isURL := strings.Cut(s, "://")
	if !isURL {
		if err := checkHostPort(s); err != nil {
			return Collector{}, err
		}
		if strings.HasSuffix(s, ":"+strconv.Itoa(otlpHTTPPort)) {
			return Collector{}, fmt.Errorf("port %d speaks OTLP over HTTP: write http://%s", otlpHTTPPort, s)
		}
		return Collector{Addr: s}, nil
	}
	if scheme == "https" {
		return Collector{}, errors.New("proxies do not speak a collector's own TLS: send to a meshed collector in the " +
			"cluster, which passes the spans on by https (docs/tracing.md)")
	}
	if scheme != "http" {
		return Collector{}, fmt.Errorf("scheme %q: want %s", scheme, WantCollector)
	}
	u, err := url.Parse(s)
	if err != nil {
		return Collector{}, err
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return Collector{}, errors.New("a user, a query or a fragment is not supported")
	}
	c := Collector{Addr: u.Host, HTTP: true, Path: u.EscapedPath()}
	if c.Path == "" || c.Path == "/" {
		c.Path = "/v1/traces" // OTLP, "OTLP/HTTP Request"
	}
	return c, checkHostPort(c.Addr)
}

// checkHostPort accepts a name or an address with a port.
func checkHostPort(s string) error {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return err
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("port %q: want 1 to 65535", port)
	}
	if host == "" || strings.ContainsAny(host, " /\\@?#%\x00") {
		return fmt.Errorf("host %q: want a name or an address", host)
	}
	return nil
}
