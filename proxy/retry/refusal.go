package retry

import "time"

const (
	// refusalWait is the first pause before a request is sent again, after the server refused each immediate attempt. It
	// doubles each time.
	refusalWait = 10 * time.Millisecond
	// RefusalWaits bounds the pauses: 2.55 s in all, within the 3 s that a request waits for an endpoint.
	RefusalWaits = 8
)

// WaitAfterRefusal returns how long a request that a server refused waits before it is sent again. A server with free
// streams may still count streams that have just ended, or shed load for a moment. attempts is how many there were,
// immediate how many of them needed no pause. ok is false if the request had all pauses.
func WaitAfterRefusal(attempts, immediate int) (wait time.Duration, ok bool) {
	pauses := max(attempts-immediate, 0)
	if pauses >= RefusalWaits {
		return 0, false
	}
	return refusalWait << pauses, true
}
