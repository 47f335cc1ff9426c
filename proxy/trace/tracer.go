package trace

import (
	"math/rand/v2"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/message"
)

// Tracer starts spans. Make it with New; a proxy that traces nothing has none. Its methods may be called by several
// goroutines.
type Tracer struct {
	*exporter
	ratio float64
	self  string // the proxy's own identity
}

// New makes a Tracer. It sends spans while Run runs.
func New(cfg Config) *Tracer {
	t := &Tracer{exporter: newExporter(cfg), ratio: cfg.Ratio}
	if !cfg.Self.IsZero() {
		t.self = cfg.Self.String()
	}
	return t
}

// Client begins the span of a request that an application of this pod sends, whose head was read. The request's own
// fields then name the span as the parent of what comes next. It is nil if the request is not sampled.
func (t *Tracer) Client(x *exchange.Exchange, grpc bool) *Span { return t.begin(x, client, grpc) }

// Server is Client for a request to an application of this pod.
func (t *Tracer) Server(x *exchange.Exchange, grpc bool) *Span { return t.begin(x, server, grpc) }

func (t *Tracer) begin(x *exchange.Exchange, k kind, grpc bool) *Span {
	c := readContext(&x.Request)
	if c.trace != (traceID{}) {
		if c.decision == drop || c.decision == undecided && !t.draw() {
			return nil
		}
	} else if !t.start(&c, &x.Request) {
		return nil
	}
	if c.decision == undecided {
		c.decision = sample
	}
	c.flags |= sampledFlag
	s := spans.Get().(*Span)
	s.begin(t, x, c, k, grpc)
	s.context.write(&x.Request, s.id, false)
	return s
}

// start starts a trace for a request that has none, and reports whether it is sampled. A trace that is drawn out is
// marked as such: otherwise each hop would draw again, and most traces would lack their beginning. With a ratio of zero
// the proxy leaves such requests alone.
func (t *Tracer) start(c *spanContext, h *message.Head) (sampled bool) {
	switch {
	case c.decision == drop, c.decision == undecided && t.ratio == 0:
		return false
	case c.decision == undecided && !t.draw():
		c.decision, c.flags = drop, 0
	}
	c.trace = newTraceID()
	if c.carried&w3c != 0 { // what came makes no sense, and neither does its state
		h.Del(tracestateField)
	}
	if c.decision == drop {
		c.write(h, newSpanID(), false)
		return false
	}
	return true
}

func (t *Tracer) draw() bool { return t.ratio > 0 && rand.Float64() < t.ratio }

// RefName renders a Ref for attributes: HTTPRoute shop/cart.
func RefName(r mesh.Ref) string {
	if r.Namespace == "" {
		return r.Kind + " " + r.Name
	}
	return r.Kind + " " + r.Namespace + "/" + r.Name
}
