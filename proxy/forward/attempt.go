package forward

import (
	"cmp"
	"fmt"

	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/message"
)

// maxAttempts bounds how often one request is sent to an upstream.
const maxAttempts = 16

// start asks the handler where the request goes. The head is complete; the body may follow.
func (fl *flight) start() {
	if fl.e.inFlight > maxExchanges {
		fl.fault(exchange.Fault{Side: exchange.Proxy, Kind: exchange.Overloaded, Reason: "exchanges"})
		return
	}
	if !fl.chargeHeads() {
		fl.fault(exchange.Fault{Side: exchange.Proxy, Kind: exchange.Overloaded, Reason: "heads"})
		return
	}
	fl.seen = true
	fl.x.Request.HasBody = !fl.req.ended
	fl.route()
	if !fl.ended {
		fl.arm()
	}
}

// freeHead is the size up to which a head is not charged. Nearly all heads are smaller, and a flight keeps as much
// memory for the next one.
const freeHead = 8 << 10

// chargeHeads charges the flight's large heads to the engine and reports whether there is room. A peer pays only a few
// bytes for a large head, through HPACK's table.
func (fl *flight) chargeHeads() bool {
	large := 0
	for _, h := range [...]*message.Head{&fl.x.Request, &fl.trailers, &fl.x.Response, &fl.x.Trailers} {
		large += max(0, cap(h.Arena())-freeHead)
	}
	fl.e.largeHeads += large - fl.headBytes
	fl.headBytes = large
	return large == 0 || fl.e.largeHeads <= fl.e.cfg.MaxHeadsBytes
}

// route asks the handler where the request goes, and does it.
func (fl *flight) route() {
	fl.e.inRoute = fl
	action := fl.e.handler.Route(&fl.x)
	fl.e.inRoute = nil
	if fl.copies != nil {
		fl.sendCopies()
	}
	if fl.x.BufferBody && !fl.req.replay.Active() {
		fl.req.startReplay()
	}
	fl.act(action)
}

func (fl *flight) act(action Action) {
	switch {
	case action.upstream != nil:
		fl.x.Attempts++
		fl.x.Sent = fl.e.now
		action.upstream.assign(fl)
		if fl.x.Timeouts.Attempt > 0 && !fl.ended {
			fl.arm()
		}
	case action.endpoint:
		fl.waitForEndpoint()
	case action.delayed:
		fl.delay(action)
	default:
		fl.reply(action.body)
	}
}

func (fl *flight) waitForEndpoint() {
	if fl.e.waitingForEndpoint.Len() >= fl.e.cfg.MaxWaiting {
		fl.fault(exchange.Fault{Side: exchange.Proxy, Kind: exchange.Overloaded, Reason: "endpoint"})
		return
	}
	if fl.endpointBy.IsZero() {
		fl.endpointBy = fl.e.now.Add(fl.e.cfg.EndpointTimeout)
	}
	fl.e.waitingForEndpoint.Push(&fl.place, fl)
	fl.arm()
}

// delay makes the flight wait for a time; then Route is asked again.
func (fl *flight) delay(action Action) {
	if fl.e.delayed.Len() >= fl.e.cfg.MaxWaiting {
		fl.fault(exchange.Fault{Side: exchange.Proxy, Kind: exchange.Overloaded, Reason: "delayed"})
		return
	}
	fl.wakeAt = fl.e.now.Add(action.delay)
	fl.e.delayed.Push(&fl.place, fl)
	fl.arm()
}

// retryWaiting asks Route again about every flight that waits for an endpoint.
func (e *Engine) retryWaiting() {
	for n := e.waitingForEndpoint.Len(); n > 0 && e.waitingForEndpoint.First() != nil; n-- {
		fl := e.waitingForEndpoint.First()
		fl.unlist()
		fl.route()
	}
}

// fault ends an attempt. It ends the flight too, unless the handler retries. The connection that caused the fault has
// left the flight already, or leaves it here.
func (fl *flight) fault(f exchange.Fault) {
	if fl.ended {
		return
	}
	if f.Kind == exchange.Rejected {
		fl.drainUnwanted()
	}
	fl.x.Connecting = fl.connecting()
	fl.leaveUpstream()
	if fl.responseBegun || fl.detached != nil {
		fl.abandon(f)
		return
	}
	fl.x.CannotResend = fl.cannotResend(f)
	f.SafeToResend = f.SafeToResend && fl.x.CannotResend == ""
	fl.x.Fault = f
	fl.req.to, fl.req.sentEnd = nil, false
	fl.x.Response.Reset()
	fl.x.Trailers.Reset()
	fl.resp.reset()
	fl.resp.to = fl.down
	fl.seen = true
	action := fl.e.handler.OnFault(&fl.x, f)
	switch {
	case action.isReply():
		fl.reply(action.body)
	case fl.x.CannotResend != "":
		fl.x.Response.Reset()
		fl.x.Response.Status = 502
		fl.reply(nil)
	default:
		fl.x.Fault, fl.code = exchange.Fault{}, 0
		fl.req.rewind()
		fl.act(action)
	}
}

// overflow is fault for a head or trailers beyond Config.MaxHeadBytes. When the response has begun the client only sees
// a reset, so overflow reports the fault too.
func (fl *flight) overflow(f exchange.Fault) {
	if fl.responseBegun && !fl.ended && fl.detached == nil {
		fl.e.cfg.Report(fl.x.Conn, f)
	}
	fl.fault(f)
}

func (e *Engine) errTooLarge() error { return fmt.Errorf("more than %d bytes", e.cfg.MaxHeadBytes) }

// cannotResend returns why the request cannot be sent again after f, or "". A fault of the client's, or of a bound of
// this engine, is final.
func (fl *flight) cannotResend(f exchange.Fault) string {
	switch {
	case f.Side != exchange.Upstream && !f.SafeToResend:
		return exchange.Final
	case fl.x.Attempts >= maxAttempts:
		return exchange.TooManyAttempts
	case fl.req.moved > 0 && !fl.req.replay.Active():
		return cmp.Or(fl.req.replay.Dropped(), exchange.NotBuffered)
	}
	return ""
}

// leaveUpstream takes the flight off its upstream: out of the queue, or off the connection.
func (fl *flight) leaveUpstream() {
	fl.unlist()
	fl.waiting = nil
	if up := fl.up; up != nil {
		fl.up = nil
		up.leave(fl)
	}
}

// respond forwards an upstream's final response, whose head is in x.Response, unless the handler finds a fault in it.
func (fl *flight) respond() {
	if fl.detached != nil {
		fl.beginResponse()
		return
	}
	fl.x.CannotResend = fl.cannotResend(exchange.Fault{Side: exchange.Upstream})
	if !fl.chargeHeads() {
		fl.fault(exchange.Fault{Side: exchange.Proxy, Kind: exchange.Overloaded, Reason: "heads"})
		return
	}
	if f := fl.e.handler.Response(&fl.x); f.Is() {
		fl.fault(f)
		return
	}
	fl.beginResponse()
}
