package inject

import (
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/tulle-mesh/tulle/mesh"
)

// TracingValues say where proxies send spans. Without Enabled they make none.
type TracingValues struct {
	Enabled   bool            `json:"enabled"`
	Collector CollectorValues `json:"collector"`
	// SamplingRatio is the share of the requests without a trace for which a proxy starts one, 0 to 1.
	SamplingRatio float64 `json:"samplingRatio"`
	// TraceServiceName is the service.name of all spans; "" means the name of the workload.
	TraceServiceName string `json:"traceServiceName,omitempty"`
}

// CollectorValues name a collector; mesh.ParseCollector reads Endpoint.
type CollectorValues struct {
	Endpoint     string             `json:"endpoint,omitempty"`
	MeshIdentity MeshIdentityValues `json:"meshIdentity"`
}

// MeshIdentityValues are the ServiceAccount of a meshed collector; without a name the collector is not meshed. Without
// a namespace it is the one in the endpoint's host, collector.NAMESPACE, otherwise the pod's own.
type MeshIdentityValues struct {
	ServiceAccountName string `json:"serviceAccountName,omitempty"`
	Namespace          string `json:"namespace,omitempty"`
}

func tracingAnnotations() []annotation {
	return []annotation{
		{key: "trace-collector", want: mesh.WantCollector, field: field{
			get: func(v *Values) string { return v.Proxy.Tracing.Collector.Endpoint },
			// The installation's identity is that of its own collector.
			set: func(v *Values, s string) error {
				v.Proxy.Tracing.Enabled, v.Proxy.Tracing.Collector = true, CollectorValues{Endpoint: s}
				if _, err := mesh.ParseCollector(s); err != nil {
					return &explainedError{err}
				}
				return nil
			},
		}},
		{key: "trace-collector-service-account", want: "the ServiceAccount of a meshed collector: name or namespace/name",
			field: field{
				get: func(v *Values) string { return v.Proxy.Tracing.Collector.MeshIdentity.String() },
				set: func(v *Values, s string) error { return v.Proxy.Tracing.Collector.MeshIdentity.set(s) },
			}},
		{key: "trace-sampling-ratio", want: "a number from 0 to 1", own: true, field: field{
			get: func(v *Values) string { return strconv.FormatFloat(v.Proxy.Tracing.SamplingRatio, 'g', -1, 64) },
			set: func(v *Values, s string) error {
				x, err := strconv.ParseFloat(s, 64)
				if err == nil && !(x >= 0 && x <= 1) { // written so that NaN is refused
					err = errNotAccepted
				}
				v.Proxy.Tracing.SamplingRatio = x
				return err
			},
		}},
		{key: "tracing", want: "true, false, enabled or disabled", own: true,
			field: truth(func(v *Values) *bool { return &v.Proxy.Tracing.Enabled })},
	}
}

// String returns namespace/account, or the account alone.
func (m MeshIdentityValues) String() string {
	if m.Namespace == "" || m.ServiceAccountName == "" {
		return m.ServiceAccountName
	}
	return m.Namespace + "/" + m.ServiceAccountName
}

func (m *MeshIdentityValues) set(s string) error {
	namespace, name, ok := strings.Cut(s, "/")
	if !ok {
		namespace, name = "", s
	}
	*m = MeshIdentityValues{ServiceAccountName: name, Namespace: namespace}
	check := mesh.ID{TrustDomain: mesh.DefaultTrustDomain, Namespace: namespace, ServiceAccount: name}
	if !ok {
		check.Namespace = "any"
	}
	return check.Validate()
}

// validate reports tracing without a collector.
func (t *TracingValues) validate() error {
	if t.Enabled && t.Collector.Endpoint == "" {
		return errors.New(mesh.OwnConfigPrefix + "tracing (proxy.tracing.enabled) is true without a collector: set " +
			mesh.ConfigPrefix + "trace-collector (proxy.tracing.collector.endpoint)")
	}
	return nil
}

// config returns what the proxy of a pod gets; nil if it makes no spans.
func (t *TracingValues) config(trustDomain, ns string, owner Owner, pod string) *mesh.Tracing {
	if !t.Enabled {
		return nil
	}
	c := &mesh.Tracing{Collector: t.Collector.Endpoint, SamplingRatio: t.SamplingRatio, ServiceName: t.TraceServiceName}
	if owner.Kind != "" {
		c.Workload = strings.ToLower(owner.Kind) + "/" + owner.Name
	}
	for _, name := range []string{owner.Name, pod, "tulle-proxy"} {
		if c.ServiceName == "" {
			c.ServiceName = name
		}
	}
	if id := t.Collector.MeshIdentity; id.ServiceAccountName != "" {
		if id.Namespace == "" {
			id.Namespace = collectorNamespace(t.Collector.Endpoint, ns)
		}
		c.CollectorID = mesh.ID{TrustDomain: trustDomain, Namespace: id.Namespace, ServiceAccount: id.ServiceAccountName}.
			String()
	}
	return c
}

// collectorNamespace returns the namespace in the name of a Service, collector.NAMESPACE or collector.NAMESPACE.svc;
// own if there is none.
func collectorNamespace(endpoint, own string) string {
	c, err := mesh.ParseCollector(endpoint)
	if err != nil {
		return own
	}
	host, _, err := net.SplitHostPort(c.Addr)
	if _, isAddr := netip.ParseAddr(host); err != nil || isAddr == nil {
		return own
	}
	if labels := strings.Split(host, "."); len(labels) > 1 && labels[1] != "" {
		return labels[1]
	}
	return own
}
