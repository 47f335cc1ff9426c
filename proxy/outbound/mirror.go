package outbound

import (
	"math/bits"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/balance"
	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/message"
	"github.com/tulle-mesh/tulle/proxy/response"
	"github.com/tulle-mesh/tulle/proxy/route"
	"github.com/tulle-mesh/tulle/proxy/stats"
)

// Copies of requests, for the mirrors of a rule or of a backend. In the engine, a copy never delays its original.

// copyTime bounds a copy whose original has no bound of its own: a mirror that never answers must not fill the room for
// copies.
const copyTime = 30 * time.Second

// Words of the label "result" of copies, beyond the engine's kinds of fault.
const (
	copyAnswered  = "answered"
	copyNoRoom    = "no_room" // for more copies, or the request is a tunnel
	copyNoBackend = errorBadBackend
)

// mirror is a mirror with what it needs at run time.
type mirror struct {
	*mesh.Mirror
	service *service // nil: the reference leads to nothing
	ends    *stats.Counters[copyEnd]
	draw    atomic.Uint64
}

// copyEnd is how a copy ended; status is 0 if nobody answered it.
type copyEnd struct {
	result string
	status int
}

// mirrors binds the mirrors of filters to the services that they send to.
func (b *boundRule) mirrors(list []*mesh.Mirror, services map[mesh.ServiceRef]*service) (out []*mirror) {
	for _, m := range list {
		labels := b.labels().Join(stats.BackendLabels(m.Backend.Ref, m.Backend.Service))
		one := &mirror{Mirror: m, ends: stats.NewCounters(b.routing.env.Stats, func(e copyEnd) (string, stats.Labels) {
			l := labels.With("result", e.result)
			if e.status > 0 {
				l = l.With("status_code", strconv.Itoa(e.status))
			}
			return stats.MirrorCopies, l
		})}
		if m.Backend.Invalid == "" && !m.Backend.Service.IsZero() {
			one.service = services[m.Backend.Service]
		}
		one.draw.Store(rand.Uint64())
		out = append(out, one)
	}
	return out
}

// takes draws whether a request is copied. The draws are spread evenly, like those for weights.
func (m *mirror) takes() bool {
	at, _ := bits.Mul64(m.draw.Add(route.Step), uint64(m.Denominator))
	return at < uint64(m.Numerator)
}

func (m *mirror) count(result string, status int) { m.ends.Inc(copyEnd{result, status}) }

// mirror sends a copy of the request to each mirror that draws one, before the request itself is sent for the first
// time.
func (o *Outbound) mirror(x *exchange.Exchange, mirrors []*mirror, t *target) {
	for _, m := range mirrors {
		if m.takes() {
			o.copyTo(x, m, t)
		}
	}
}

func (o *Outbound) copyTo(x *exchange.Exchange, m *mirror, t *target) {
	if m.service == nil || !t.acquireService(m.service) {
		m.count(copyNoBackend, 0)
		return
	}
	slot, ep, ok := m.service.pool.Pick(o.env.Now())
	if !ok {
		t.releaseService(m.service)
		m.count(exchange.NoEndpoint.String(), 0)
		return
	}
	copied := o.engine.Mirror(x, ep.upstream(x.Request.Version), func(c *exchange.Exchange) {
		m.service.pool.Done(slot, copyResult(c), o.env.Now(), max(c.Responded.Sub(c.Sent), 0))
		t.releaseService(m.service)
		m.end(c)
	})
	if copied == nil {
		m.service.pool.Done(slot, balance.Abandoned, o.env.Now(), 0)
		t.releaseService(m.service)
		m.count(copyNoRoom, 0)
		return
	}
	copied.Timeouts.Request = copyTime
	if x.Timeouts.Request > 0 {
		copied.Timeouts.Request = min(copyTime, x.Timeouts.Request)
	}
	response.SetRemaining(&copied.Request, copied.Timeouts.Request, ep.meshed())
	shadow(&copied.Request)
}

// end counts how a copy ended.
func (m *mirror) end(c *exchange.Exchange) {
	if c.Fault.Is() {
		m.count(c.Fault.Kind.String(), 0)
		return
	}
	m.count(copyAnswered, c.Response.Status)
}

// copyResult returns what a copy says about its endpoint: whether it can be reached, and how long it takes. A copy's
// failure says nothing: it may have failed because it is a copy, and the same endpoints may serve requests that are
// not.
func copyResult(c *exchange.Exchange) balance.AttemptResult {
	switch {
	case c.Fault.Is():
		if o := resultOf(c.Fault, c.Connecting, true); o == balance.Unreachable {
			return o
		}
		return balance.Abandoned
	case c.Responded.IsZero() || c.Response.Status >= 500 || c.RequestBytes > bulkBytes:
		return balance.Abandoned
	default:
		return balance.Responded
	}
}

// shadow marks the authority of a copy, as Envoy and Istio do, so that servers can recognize it. An address stays as it
// is.
func shadow(h *message.Head) {
	name, port := string(h.Part(message.Authority)), ""
	if i := strings.LastIndexByte(name, ':'); i >= 0 {
		name, port = name[:i], name[i:]
	}
	if _, err := netip.ParseAddr(name); err == nil || name == "" || name[0] == '[' {
		return
	}
	h.SetPart(message.Authority, name+"-shadow"+port)
}
