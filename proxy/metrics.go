package proxy

import (
	"time"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/control"
	"github.com/tulle-mesh/tulle/proxy/stats"
)

// addMetrics adds the series that describe the proxy itself.
func (p *Proxy) addMetrics() {
	r := p.env.Stats
	r.AddProcess(p.cfg.Version, p.env.Started)
	r.Func("tulle_control_targets", "", func() float64 { return float64(p.outbound.Targets()) })
	r.Func("tulle_control_stale_seconds", "", func() float64 { return p.staleFor().Seconds() })
	r.Func("tulle_admin_connections_refused_total", "", func() float64 { return float64(p.admin.refused.Load()) })
	r.Func("tulle_tap_subscriptions", "", func() float64 { return float64(p.env.Tap.Subscriptions()) })
	r.Func("tulle_tap_events_lost_total", "", func() float64 { return float64(p.env.Tap.Lost()) })
	if p.tap != nil {
		r.Func("tulle_tap_refused_total", "", func() float64 { return float64(p.tap.Refused()) })
	}
	if p.env.Tracer != nil {
		p.env.Tracer.AddMetrics(r)
	}
	if lost := p.cfg.LostLines; lost != nil {
		r.Func("tulle_log_lines_lost_total", "", func() float64 { return float64(lost()) })
	}
	if p.control != nil {
		p.addControlMetrics()
	}
	if p.env.Certs == nil {
		return
	}
	status := p.env.Certs.Status
	for _, prefix := range []string{"control_identity_cert_", "identity_cert_"} {
		r.Func(prefix+"expiration_timestamp_seconds", "", func() float64 { return unixSeconds(status().NotAfter) })
		r.Func(prefix+"refresh_timestamp_seconds", "", func() float64 { return unixSeconds(status().Refreshed) })
		r.Func(prefix+"refreshes_total", `result="ok"`, func() float64 { return float64(status().Refreshes) })
		r.Func(prefix+"refreshes_total", `result="error"`, func() float64 { return float64(status().Failures) })
	}
	r.Func("tulle_trust_roots_hash", "", func() float64 { return float64(status().RootsHash) })
	r.Func("tulle_identity_issuer_hash", "", func() float64 { return float64(status().IssuerHash) })
	r.Func("tulle_trust_roots_errors_total", "", func() float64 { return float64(status().RootsErrors) })
}

// addControlMetrics adds the series of the stream to the destination controller.
func (p *Proxy) addControlMetrics() {
	addr := stats.ControlLabels(p.cfg.Settings.DestinationAddr)
	add := func(name string, l stats.Labels, value func(control.Status) uint64) {
		p.env.Stats.Func(name, l, func() float64 { return float64(value(p.control.Status())) })
	}
	p.env.Stats.Func("control_connected", addr, func() float64 {
		if p.control.Status().Connected {
			return 1
		}
		return 0
	})
	add("control_connect_failures_total", addr, func(s control.Status) uint64 { return s.Failures })
	add("tulle_control_values_total", addr.With("result", "ok"), func(s control.Status) uint64 { return s.Received })
	add("tulle_control_values_total", addr.With("result", "refused"), func(s control.Status) uint64 { return s.Rejected })
}

// countCalls returns functions that count the calls to a part of the control plane, and their responses by gRPC status.
// A cancelled call does not count as a failure.
func (p *Proxy) countCalls(
	addr string, server mesh.ID,
) (asked func(), answered func(took time.Duration, grpcStatus int16)) {
	const ok, canceled = 0, 1
	calls := p.env.Stats.Control(stats.ControlCallLabels(addr, server))
	return calls.Request, func(took time.Duration, code int16) {
		o := stats.ResponseStatus{GRPC: code, Failure: code != ok && code != canceled}
		if code == ok {
			o.Status = 200
		}
		calls.Response(o, took)
	}
}

func unixSeconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.Unix())
}

// staleFor returns how long the control plane has been silent; 0 while connected, and without a control plane.
func (p *Proxy) staleFor() time.Duration {
	if p.control == nil {
		return 0
	}
	return p.control.Status().Stale
}

// waitingFor returns what the proxy needs before it is ready.
func (p *Proxy) waitingFor() []string {
	var waiting []string
	if p.env.Certs != nil && p.env.Certs.Err() != nil {
		waiting = append(waiting, "certificate")
	}
	if _, seq := p.source.Inbound().Load(); seq == 0 {
		waiting = append(waiting, "inbound policy")
	}
	return waiting
}
