package proxy

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/balance"
	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/forward"
	"github.com/tulle-mesh/tulle/proxy/retry"
	"github.com/tulle-mesh/tulle/proxy/stats"
)

// How a request is tried: attempts, retries and their budgets, bounds of time. docs/reliability.md tells users.

// effort is what has been done for an outbound request beyond sending it once. Its zero value is that of a request without policy.
type effort struct {
	policy  *retry.Policy // nil where nothing is retried
	retries uint32
	wait    time.Duration // that the retry which has been decided on begins with
	// skip is why the last failure was not retried although the policy covers it; exhausted says that it comes from a peer that knows
	// of retries further along.
	skip      retry.Skip
	exhausted bool
	// deadline says that the request is bounded by its caller's deadline, before any timeout of the rule's.
	deadline bool
	drawn    bool // an injected delay was decided on, for or against
}

// retriedField is how a proxy tells a meshed peer that a failed answer passes a failure on that was retried further along already:
// another retry would multiply those.
const retriedField = "tulle-retried"

// budgets are the retry budgets of a target. One stays for as long as there is one of its place and kind.
type budgets map[budgetKey]*retry.Budget

type budgetKey struct {
	ref   mesh.Ref // zero for the Service's own
	index int
	mesh.Budget
}

// setRetries gives the plan's rules their policies. Budgets go on from the last plan.
func (p *plan) setRetries(value *mesh.Outbound, last *plan, now time.Duration) {
	p.budgets = budgets{}
	take := func(k budgetKey) *retry.Budget {
		b := p.budgets[k]
		if b == nil && last != nil {
			b = last.budgets[k]
		}
		if b == nil {
			b = retry.NewBudget(k.Budget, now)
		}
		p.budgets[k] = b
		return b
	}
	common := mesh.DefaultBudget
	if p.profile && value.Profile.Budget != nil {
		common = *value.Profile.Budget
	}
	for _, c := range p.courses {
		r := c.Policy.Retry
		if r == nil {
			continue
		}
		c.retry, c.tries = &retry.Policy{Retry: *r, Service: take(budgetKey{Budget: common})}, newTries(c)
		if r.Budget == nil || *r.Budget == common {
			continue
		}
		own := take(budgetKey{c.Ref, c.Index, *r.Budget})
		if p.profile { // of two budgets of a profile the one that says more exactly what it is about holds
			c.retry.Service = own
		} else {
			c.retry.Own = own
		}
	}
}

// embark sets the bounds of a request, and counts it for the budgets of retries. late is true when its caller's deadline has passed.
func (o *outbound) embark(x *exchange.Exchange, r *outboundRequest) (late bool) {
	c := r.course
	limits := &c.Policy.Timeouts
	x.TotalTimeout, x.AnswerTimeout, x.IdleTimeout, x.AttemptTimeout = limits.Request, limits.Response, limits.Idle, limits.Attempt
	if left, ok := takeDeadline(&x.Request, r.grpc); ok {
		if left <= 0 {
			return true
		}
		if x.TotalTimeout == 0 || left < x.TotalTimeout {
			x.TotalTimeout, r.deadline = left, true
		}
	}
	if c.retry == nil {
		return false
	}
	r.policy, x.Replay = c.retry, true
	now := o.proxy.now()
	c.retry.Service.Deposit(now)
	if c.retry.Own != nil {
		c.retry.Own.Deposit(now)
	}
	return false
}

// late answers a request whose deadline passed before it could be sent.
func (o *outbound) late(x *exchange.Exchange, r *outboundRequest, t *target) forward.Verdict {
	r.deadline = true
	x.Fault = exchange.Fault{Side: exchange.Proxy, Kind: exchange.Timeout, Reason: exchange.Deadline}
	o.proxy.countFault(stats.OutboundHTTPErrors, "outbound", x.Fault)
	text := timeoutText(x, r, x.Fault.Reason)
	return o.proxy.respond(x, answer{fault: x.Fault, text: text, grpc: r.grpc, detailed: true, object: o.object(t, r)})
}

// attempt sends the request to an endpoint, unless the rule injects a fault instead.
func (o *outbound) attempt(x *exchange.Exchange, r *outboundRequest) forward.Verdict {
	if r.course.Policy.Fault != nil {
		if v, injected := o.inject(x, r); injected {
			return v
		}
	}
	if !o.pick(r) {
		return forward.Park()
	}
	if !r.mirrored {
		o.mirror(x, r)
	}
	return o.give(x, r)
}

// give sends the request to the endpoint that was picked. A peer's proxy is told how much time is left.
func (o *outbound) give(x *exchange.Exchange, r *outboundRequest) forward.Verdict {
	if left, bounded := timeLeft(x); bounded {
		if x.AttemptTimeout > 0 {
			left = min(left, x.AttemptTimeout)
		}
		tellRemaining(&x.Request, left, r.ep.meshed())
	}
	return forward.Forward(r.ep.upstream(x.Request.Version))
}

// timeLeft returns how much of the request's time is left, if there is a bound for all of it.
func timeLeft(x *exchange.Exchange) (left time.Duration, bounded bool) {
	if x.TotalTimeout <= 0 {
		return 0, false
	}
	return x.TotalTimeout - time.Since(x.Begun), true
}

// judge looks at an answer that came. It is a Rejected fault if it is asked for again.
func (o *outbound) judge(x *exchange.Exchange, r *outboundRequest) exchange.Fault {
	status, grpc := x.Response.Status, stats.NotGRPC
	if r.grpc && x.Response.Has("grpc-status") {
		grpc = grpcOf(x) // there is nothing but trailers
	}
	failed := status >= 500 || grpc > 0 && grpcFailure(grpc)
	if failed && x.Response.Has(retriedField) {
		x.Response.Del(retriedField)
		r.exhausted = r.ep.meshed()
	}
	if r.policy != nil && r.policy.Covers(status, grpc) && o.mayRetry(x, r) {
		o.ended(x, r)
		return exchange.Fault{Side: exchange.Upstream, Kind: exchange.Rejected}
	}
	if failed {
		o.settle(x, r)
	}
	return exchange.Fault{}
}

// ended ends the attempt in flight, whose answer is asked for again.
func (o *outbound) ended(x *exchange.Exchange, r *outboundRequest) {
	took := max(time.Since(x.Sent), 0)
	r.share.service.pool.Done(r.slot, balance.Failed, o.proxy.now(), took)
	r.ep = nil
	result := r.result(x)
	r.countAttempt(r.status(x, result), result, attemptTimes{took, took})
}

// mayRetry decides whether a failure that the policy covers is retried. A retry that it allows must be made.
func (o *outbound) mayRetry(x *exchange.Exchange, r *outboundRequest) bool {
	a := retry.Attempt{
		Retries: r.retries, Unrepeatable: x.Unrepeatable, Exhausted: r.exhausted, Draw: rand.Float64(),
		Expected: r.share.service.pace.Expected(),
	}
	a.Left, a.Bounded = timeLeft(x)
	if x.AnswerTimeout > 0 {
		left := x.AnswerTimeout - time.Since(x.Begun)
		if !a.Bounded || left < a.Left {
			a.Left, a.Bounded = left, true
		}
	}
	r.wait, r.skip = r.policy.Decide(a, o.proxy.now())
	r.course.countRetryable(r.skip)
	switch r.skip {
	case "":
		r.retries++
		r.course.countRetry("requests_total")
		return true
	case retry.Limit:
		r.course.countRetry("limit_exceeded_total")
	case retry.Overflow:
		r.course.countRetry("overflow_total")
	}
	r.course.countSkip(r.skip)
	return false
}

// retryFault is mayRetry for an attempt that failed without an answer: what would be answered for it counts.
func (o *outbound) retryFault(x *exchange.Exchange, r *outboundRequest, f exchange.Fault) bool {
	if r.policy == nil || x.Unrepeatable == exchange.Final {
		return false
	}
	status := mappingOf(f.Kind).status
	grpc := stats.NotGRPC
	switch {
	case r.grpc && f.Kind == exchange.Reset: // as good as an answer: only its gRPC status counts
		status, grpc = 200, int16(resetStatus(f.Reason))
	case r.grpc:
		grpc = int16(grpcStatus(status))
	}
	late := f.Kind == exchange.Timeout // of the attempt: its policy would be without effect if that were not retried
	return (late || r.policy.Covers(status, grpc)) && o.mayRetry(x, r)
}

// again makes the retry that was decided on.
func (o *outbound) again(x *exchange.Exchange, r *outboundRequest) forward.Verdict {
	wait := r.wait
	r.wait, r.exhausted = 0, false
	if wait > 0 {
		return forward.Wait(wait)
	}
	return o.attempt(x, r)
}

// settle remembers a failure that stays although it was retried, here or further along: the application may pass it on.
func (o *outbound) settle(x *exchange.Exchange, r *outboundRequest) {
	if r.exhausted || r.retries > 0 || r.skip != "" {
		o.proxy.failures.Add(x.Begun, time.Now())
	}
}

// conclude is told how the request ended.
func (o *outbound) conclude(x *exchange.Exchange, r *outboundRequest, result stats.Outcome) {
	if r.policy == nil || result.Failure {
		return
	}
	if r.retries > 0 {
		r.course.countRetry("successes_total")
	}
	if !x.Answered.IsZero() && !x.Sent.IsZero() {
		r.share.service.pace.Observe(max(x.Answered.Sub(x.Sent), 0))
	}
}

// noBudget is Linkerd's word.
const noBudget = "no_budget"

// tries are the counters of what became of failures that a rule's policy covers.
type tries struct {
	retries   *stats.Counters[string]     // outbound_{http,grpc}_route_retry_<string>
	skipped   *stats.Counters[retry.Skip] // by reason
	retryable *stats.Counters[retry.Skip] // as ServiceProfiles have it, under the name of the route
}

// newTries returns those of a rule. Nobody counts where no Service was asked for.
func newTries(c *course) *tries {
	family := "outbound_http_route_retry_"
	if c.GRPC {
		family = "outbound_grpc_route_retry_"
	}
	r := c.plan.proxy.stats
	return &tries{
		retries: stats.NewCounters(r, func(what string) (string, stats.Labels) { return family + what, c.labels() }),
		skipped: stats.NewCounters(r, func(reason retry.Skip) (string, stats.Labels) {
			return family + "skipped_total", c.labels().With("reason", string(reason))
		}),
		retryable: stats.NewCounters(r, func(skipped retry.Skip) (string, stats.Labels) {
			if skipped == retry.Overflow {
				skipped = noBudget
			}
			return "route_retryable_total", c.dst.With("skipped", string(skipped))
		}),
	}
}

func (t *tries) close() {
	t.retries.Close()
	t.skipped.Close()
	t.retryable.Close()
}

// countRetryable counts a failure that the policy covers, and why it is not retried if it is not.
func (c *course) countRetryable(skipped retry.Skip) {
	if c.meters().named != nil {
		c.tries.retryable.Inc(skipped)
	}
}

func (c *course) countRetry(what string) {
	if !c.plan.service.IsZero() {
		c.tries.retries.Inc(what)
	}
}

func (c *course) countSkip(reason retry.Skip) {
	if !c.plan.service.IsZero() {
		c.tries.skipped.Inc(reason)
	}
}

// timeoutText says which bound passed, for the application that waited.
func timeoutText(x *exchange.Exchange, r *outboundRequest, reason string) string {
	name, bound := "request", x.TotalTimeout
	switch reason {
	case exchange.AnswerTimeout:
		name, bound = "response", x.AnswerTimeout
	case exchange.IdleTimeout:
		name, bound = "idle", x.IdleTimeout
	case exchange.AttemptTimeout:
		name, bound = "attempt", x.AttemptTimeout
	default:
		if r.deadline {
			return "response timed out: the caller's deadline has passed"
		}
	}
	return fmt.Sprintf("response timed out: the %s timeout of %v has passed", name, bound)
}
