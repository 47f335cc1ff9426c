package outbound

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/clock"
	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/response"
	"github.com/tulle-mesh/tulle/proxy/retry"
	"github.com/tulle-mesh/tulle/proxy/stats"
)

// Retries and their budgets, and bounds of time. docs/reliability.md is for users.

// retryState is what is known about the retries of a request. The zero value is that of a request without a policy.
type retryState struct {
	policy  *retry.Policy // nil where nothing is retried
	retries uint32
	wait    time.Duration // before the retry that was claimed
	// skip is why the last failure was not retried although the policy covers it. exhausted says that the failure comes
	// from a peer that knows of retries further along.
	skip      retry.Skip
	exhausted bool
}

// budgets are the retry budgets of a target. A budget stays while some rule has the same one at the same place.
type budgets map[budgetKey]*retry.Budget

type budgetKey struct {
	ref   mesh.Ref // zero for the Service's own
	index int
	mesh.Budget
}

// setRetries gives the routing's rules their policies. It takes over the budgets of the last routing that stay.
func (rt *routing) setRetries(value *mesh.Outbound, last *routing, now clock.Instant) {
	rt.budgets = budgets{}
	take := func(k budgetKey) *retry.Budget {
		b := rt.budgets[k]
		if b == nil && last != nil {
			b = last.budgets[k]
		}
		if b == nil {
			b = retry.NewBudget(k.Budget, now)
		}
		rt.budgets[k] = b
		return b
	}
	common := mesh.DefaultBudget
	if rt.profile && value.Profile.Budget != nil {
		common = *value.Profile.Budget
	}
	for _, b := range rt.rules {
		r := b.Policy.Retry
		if r == nil {
			continue
		}
		b.retry, b.retryMetrics = &retry.Policy{Retry: *r, Service: take(budgetKey{Budget: common})}, newRetryMetrics(b)
		if r.Budget == nil || *r.Budget == common {
			continue
		}
		own := take(budgetKey{b.Ref, b.RuleIndex, *r.Budget})
		if rt.profile { // of two budgets of a profile, the more specific one applies
			b.retry.Service = own
		} else {
			b.retry.Own = own
		}
	}
}

// applyTimeouts sets the bounds of a request, and counts it for the budgets of retries. It is false if the caller's
// deadline has passed.
func (r *request) applyTimeouts(x *exchange.Exchange) bool {
	b := r.rule
	x.Timeouts = b.Policy.Timeouts
	if left, ok := response.TakeDeadline(&x.Request, r.grpc); ok {
		if left <= 0 {
			return false
		}
		if x.Timeouts.Request == 0 || left < x.Timeouts.Request {
			x.Timeouts.Request, r.callerDeadline = left, true
		}
	}
	if b.retry == nil {
		return true
	}
	r.policy, x.BufferBody = b.retry, true
	now := b.routing.env.Now()
	b.retry.Service.Deposit(now)
	if b.retry.Own != nil {
		b.retry.Own.Deposit(now)
	}
	return true
}

// timeLeft returns how much of the request's time is left, if there is a bound for all of it.
func timeLeft(x *exchange.Exchange) (left time.Duration, bounded bool) {
	if x.Timeouts.Request <= 0 {
		return 0, false
	}
	return x.Timeouts.Request - time.Since(x.Begun), true
}

// timeoutText says which bound passed, for the application that waited.
func (r *request) timeoutText(x *exchange.Exchange, reason string) string {
	name, bound := "request", x.Timeouts.Request
	switch reason {
	case exchange.ResponseTimeout:
		name, bound = "response", x.Timeouts.Response
	case exchange.IdleTimeout:
		name, bound = "idle", x.Timeouts.Idle
	case exchange.AttemptTimeout:
		name, bound = "attempt", x.Timeouts.Attempt
	default:
		if r.callerDeadline {
			return "response timed out: the caller's deadline has passed"
		}
	}
	return fmt.Sprintf("response timed out: the %s timeout of %v has passed", name, bound)
}

// claimRetryAfterResponse reports whether a response with these statuses is retried. If so, the retry is claimed: it is
// counted and has taken its token of each budget, so the caller must make it with beginRetry.
func (r *request) claimRetryAfterResponse(x *exchange.Exchange, status int, grpc int16) bool {
	return r.policy != nil && r.policy.Covers(status, grpc) && r.claimRetry(x)
}

// claimRetryAfterFault is claimRetryAfterResponse for an attempt that failed without a response. It uses the status
// that the proxy would respond with.
func (r *request) claimRetryAfterFault(x *exchange.Exchange, f exchange.Fault) bool {
	if r.policy == nil || x.CannotResend == exchange.Final {
		return false
	}
	status := response.FaultStatus(f.Kind)
	grpc := stats.NotGRPC
	switch {
	case r.grpc && f.Kind == exchange.Reset: // as good as a response: only its gRPC status counts
		status, grpc = 200, int16(response.ResetStatus(f.Reason))
	case r.grpc:
		grpc = int16(response.GRPCStatus(status))
	}
	timeout := f.Kind == exchange.Timeout // of the attempt: a timeout for attempts is there to cause retries
	return (timeout || r.policy.Covers(status, grpc)) && r.claimRetry(x)
}

// claimRetry claims a retry of a failure that the policy covers, or counts why there is none.
func (r *request) claimRetry(x *exchange.Exchange) bool {
	a := retry.Attempt{
		Retries: r.retries, CannotResend: x.CannotResend, Exhausted: r.exhausted, Draw: rand.Float64(),
		Expected: r.backend.service.pace.Expected(),
	}
	a.Left, a.Bounded = timeLeft(x)
	if x.Timeouts.Response > 0 {
		left := x.Timeouts.Response - time.Since(x.Begun)
		if !a.Bounded || left < a.Left {
			a.Left, a.Bounded = left, true
		}
	}
	r.wait, r.skip = r.policy.Decide(a, r.rule.routing.env.Now())
	r.rule.countRetryable(r.skip)
	switch r.skip {
	case "":
		r.retries++
		r.rule.countRetry("requests_total")
		return true
	case retry.Limit:
		r.rule.countRetry("limit_exceeded_total")
	case retry.Overflow:
		r.rule.countRetry("overflow_total")
	}
	r.rule.countSkip(r.skip)
	return false
}

// beginRetry begins the retry that was claimed, and returns how long it waits first.
func (r *request) beginRetry() (wait time.Duration) {
	wait = r.wait
	r.wait, r.exhausted = 0, false
	return wait
}

// endRetries counts how a request with a policy ended.
func (r *request) endRetries(x *exchange.Exchange, status stats.ResponseStatus) {
	if r.policy == nil || status.Failure {
		return
	}
	if r.retries > 0 {
		r.rule.countRetry("successes_total")
	}
	if !x.Responded.IsZero() && !x.Sent.IsZero() {
		r.backend.service.pace.Observe(max(x.Responded.Sub(x.Sent), 0))
	}
}

// recordExhausted remembers a failure that retries did not mend, here or further along: the application may pass it on,
// and its caller must not retry it again.
func (o *Outbound) recordExhausted(x *exchange.Exchange, r *request) {
	if r.exhausted || r.retries > 0 || r.skip != "" {
		o.env.Failures.Add(x.Begun, time.Now())
	}
}

// noBudget is Linkerd's word for retry.Overflow.
const noBudget = "no_budget"

// retryMetrics count what happened to failures that a rule's policy covers.
type retryMetrics struct {
	retries   *stats.Counters[string]     // outbound_{http,grpc}_route_retry_<string>
	skipped   *stats.Counters[retry.Skip] // by reason
	retryable *stats.Counters[retry.Skip] // as ServiceProfiles have it, under the name of the route
}

// newRetryMetrics makes the metrics of a rule's retries. They stay unused if the target is not a Service.
func newRetryMetrics(b *boundRule) *retryMetrics {
	family := "outbound_http_route_retry_"
	if b.GRPC {
		family = "outbound_grpc_route_retry_"
	}
	r := b.routing.env.Stats
	return &retryMetrics{
		retries: stats.NewCounters(r, func(what string) (string, stats.Labels) { return family + what, b.labels() }),
		skipped: stats.NewCounters(r, func(reason retry.Skip) (string, stats.Labels) {
			return family + "skipped_total", b.labels().With("reason", string(reason))
		}),
		retryable: stats.NewCounters(r, func(skipped retry.Skip) (string, stats.Labels) {
			if skipped == retry.Overflow {
				skipped = noBudget
			}
			return "route_retryable_total", b.dst.With("skipped", string(skipped))
		}),
	}
}

func (m *retryMetrics) close() {
	m.retries.Close()
	m.skipped.Close()
	m.retryable.Close()
}

// countRetryable counts a failure that the policy covers, and why it is not retried if it is not.
func (b *boundRule) countRetryable(skipped retry.Skip) {
	if b.metrics().named != nil {
		b.retryMetrics.retryable.Inc(skipped)
	}
}

func (b *boundRule) countRetry(what string) {
	if !b.routing.service.IsZero() {
		b.retryMetrics.retries.Inc(what)
	}
}

func (b *boundRule) countSkip(reason retry.Skip) {
	if !b.routing.service.IsZero() {
		b.retryMetrics.skipped.Inc(reason)
	}
}
