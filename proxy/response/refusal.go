package response

import (
	"time"

	"github.com/tulle-mesh/tulle/proxy/exchange"
)

// FromApplication is the reason of a fault that a peer's proxy had with its application.
const FromApplication = "application"

const (
	// refusalWait is the first pause before a request is sent again, after the server refused each immediate attempt. It
	// doubles each time.
	refusalWait = 10 * time.Millisecond
	// RefusalWaits bounds the pauses: 2.55 s in all, within the 3 s that a request waits for an endpoint.
	RefusalWaits = 8
)

// WaitAfterRefusal returns how long to wait before a refused request is sent again. A server with free streams may
// still count streams that have just ended, or shed load for a moment. attempts is how many attempts were made without
// a pause. ok is false for other faults, and if a peer's application refused: then the peer's proxy has waited already.
func WaitAfterRefusal(x *exchange.Exchange, f exchange.Fault, attempts int) (wait time.Duration, ok bool) {
	pauses := max(x.Attempts-attempts, 0)
	refused := f.Kind == exchange.Refused && f.Side == exchange.Upstream && f.Retryable && f.Reason != FromApplication
	if !refused || pauses >= RefusalWaits {
		return 0, false
	}
	return refusalWait << pauses, true
}
