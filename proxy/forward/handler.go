package forward

import (
	"time"

	"github.com/tulle-mesh/tulle/proxy/exchange"
)

// Handler decides what happens to each exchange. The engine calls it with the lock held, so it must not block. It may
// touch the exchange freely until it returns. proxy/outbound and proxy/inbound implement it.
type Handler interface {
	// Route is called when a request's head is complete. It may edit x.Request.
	Route(x *exchange.Exchange) Action
	// OnFault is called for every fault before the final response's head went downstream, also for a request that was
	// too broken to be routed. f.SafeToResend says that the request may be sent again from its start: it was certainly not
	// processed, or it is idempotent, has no body and got no response. x.CannotResend says why it cannot be sent again
	// at all; then any action but Reply becomes a bare 502.
	OnFault(x *exchange.Exchange, f exchange.Fault) Action
	// Response is called when the final response's head arrived from an upstream. It may edit x.Response. If it returns
	// a fault, the attempt failed with it, and OnFault decides how to go on. Response must not reject a response that
	// it wants to pass on when there is no other way. It is not called for a Reply.
	Response(x *exchange.Exchange) exchange.Fault
	// End is called exactly once for each exchange that Route or OnFault saw, after everything else.
	End(x *exchange.Exchange)
}

// Action is what the Handler wants done with an exchange. Forward, Reply, WaitForEndpoint and Delay make it. The
// zero Action is a Reply without a body.
type Action struct {
	upstream *Upstream
	endpoint bool
	delayed  bool
	delay    time.Duration
	body     []byte
}

// Forward sends the request to u. The Upstream must belong to the same engine.
func Forward(u *Upstream) Action { return Action{upstream: u} }

// WaitForEndpoint keeps the exchange until Engine.Kick, and at most for Config.EndpointTimeout. After Kick, Route is
// asked again; after the timeout, OnFault gets a NoEndpoint fault.
func WaitForEndpoint() Action { return Action{endpoint: true} }

// Delay keeps the exchange for d, up to a tick of 10 ms longer. Then Route is asked again. The exchange's timeouts go
// on meanwhile.
func Delay(d time.Duration) Action { return Action{delayed: true, delay: d} }

// Reply answers with x.Response, which the handler filled in (status and fields, no framing), and body. The engine adds
// content-length, and connection: close where the connection must end. The body is copied.
func Reply(body []byte) Action { return Action{body: body} }

// isReply reports whether a is a Reply.
func (a Action) isReply() bool { return a.upstream == nil && !a.endpoint && !a.delayed }
