package proxy

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/forward"
	"github.com/tulle-mesh/tulle/proxy/stats"
)

// errInjected is what metrics say of a request that a rule made fail on purpose.
const errInjected = "injected"

// inject makes the attempt wait or fail, where the rule says so. Every attempt may fail, and the failure goes through the rule's retries
// like a real one, so that they can be tried out; no endpoint is picked for it, so none is blamed. The fault ends by this proxy's own
// clock, whatever became of the control plane.
func (o *outbound) inject(x *exchange.Exchange, r *outboundRequest) (v forward.Verdict, injected bool) {
	f := r.course.Policy.Fault
	if !time.Now().Before(f.Until) {
		return v, false
	}
	if !r.drawn {
		if r.drawn = true; f.Delay > 0 && happens(f.DelayPercent) {
			return forward.Wait(f.Delay), true
		}
	}
	if f.AbortStatus == 0 && f.AbortGRPC == 0 || !happens(f.AbortPercent) {
		return v, false
	}
	status, grpc := int(f.AbortStatus), stats.NotGRPC
	if status == 0 {
		status = 503
	}
	if r.grpc {
		if grpc = int16(f.AbortGRPC); grpc == 0 {
			grpc = int16(grpcStatus(status))
		}
	}
	if r.policy != nil && r.policy.Covers(status, grpc) && o.mayRetry(x, r) {
		return o.again(x, r), true
	}
	o.settle(x, r)
	a := answer{status: status, cause: "proxy_internal_response", text: fmt.Sprintf("fault injected on purpose until %s", f.Until.UTC().Format(time.RFC3339))}
	if r.grpc {
		a.code = int(grpc)
	}
	v = o.refuseRequest(x, r, x.Conn.Data.(*target), a, errInjected)
	r.mark(x)
	return v, true
}

// happens draws one of a hundred.
func happens(percent float64) bool { return percent > 0 && rand.Float64()*100 < percent }
