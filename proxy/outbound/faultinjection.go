package outbound

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/tulle-mesh/tulle/proxy/response"
	"github.com/tulle-mesh/tulle/proxy/stats"
)

// errorInjected is the value of the label "error" of a request that a rule made fail on purpose.
const errorInjected = "injected"

// injected is what a rule's fault does to an attempt: it waits, or fails with a status, or neither.
type injected struct {
	delay  time.Duration
	abort  bool
	status int
	grpc   int16
	until  time.Time
}

// injectFault draws what the rule's fault does to the attempt. Every attempt may fail. The failure goes through the
// rule's retries like a real one, so that users can test them. No endpoint is picked for it, so none is blamed. The
// fault ends by this proxy's own clock, even if the control plane is away.
func (r *request) injectFault(now time.Time) injected {
	f := r.rule.Policy.FaultInjection
	if !now.Before(f.Until) {
		return injected{}
	}
	if !r.delayDrawn {
		if r.delayDrawn = true; f.Delay > 0 && happens(f.DelayPercent) {
			return injected{delay: f.Delay}
		}
	}
	if f.AbortStatus == 0 && f.AbortGRPC == 0 || !happens(f.AbortPercent) {
		return injected{}
	}
	out := injected{abort: true, status: int(f.AbortStatus), grpc: stats.NotGRPC, until: f.Until}
	if out.status == 0 {
		out.status = 503
	}
	if r.grpc {
		if out.grpc = int16(f.AbortGRPC); out.grpc == 0 {
			out.grpc = int16(response.GRPCStatus(out.status))
		}
	}
	return out
}

// injectedRefusal returns the response to a request that fails on purpose.
func (r *request) injectedRefusal(f injected) *response.Refusal {
	e := response.Error{
		Status: f.status, Cause: "proxy_internal_response",
		Text: fmt.Sprintf("fault injected on purpose until %s", f.until.UTC().Format(time.RFC3339)),
	}
	if r.grpc {
		e.Code = int(f.grpc)
	}
	return &response.Refusal{Error: e, Reason: errorInjected}
}

// happens draws with this probability.
func happens(percent float64) bool { return percent > 0 && rand.Float64()*100 < percent }
