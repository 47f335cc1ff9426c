package exchange

import "fmt"

// Side says who is to blame for a fault.
type Side uint8

// The sides of an exchange.
const (
	Proxy      Side = iota // this proxy: a limit, a policy, a shutdown
	Downstream             // the client that sent the request
	Upstream               // the server that was to answer it
)

func (s Side) String() string { return [...]string{"proxy", "downstream", "upstream"}[s] }

// Kind says what went wrong. Its String is the word that metrics, logs and documentation share.
type Kind uint8

// The kinds of fault: the side to blame, and the status of the response.
//
//	kind          side        when                                                          usual status
//	Malformed     downstream  the request breaks HTTP's syntax or rules                     400, connection closed
//	HeadTooLarge  downstream  the request head exceeds the limit                            431, connection closed
//	HeadTimeout   downstream  the head did not arrive in time                               408, connection closed
//	Unsupported   downstream  a transfer coding or expectation this proxy does not know     501, connection closed
//	Disconnected  downstream  the client went away or reset the stream                      none
//	Flood         downstream  resets, control frames or empty frames beyond the budget      none: GOAWAY ENHANCE_YOUR_CALM
//	NoEndpoint    proxy       no endpoint became available within the wait for endpoints    504 (fail-fast)
//	Overloaded    proxy       a bounded queue is full                                       503
//	Shutdown      proxy       the drain's bound ended                                       503
//	Timeout       proxy       a deadline of the exchange passed; of an attempt: upstream    504
//	DialRefused   upstream    the connection could not be made                              502, safe to resend
//	DialTimeout   upstream    the connection was not made in time                           504, safe to resend
//	Identity      upstream    the TLS peer is not who it must be                            502, safe to resend
//	Refused       upstream    GOAWAY or REFUSED_STREAM: certainly not processed             503, safe to resend
//	Lost          upstream    the connection ended before the response                      502, safe to resend if the request is idempotent
//	Reset         upstream    the server reset the stream; the reason is HTTP/2's code      502; gRPC's mapping of the code
//	BadResponse   upstream    the response breaks HTTP's syntax or rules                    502
//	ResponseTooLarge upstream the response's head or trailers exceed the limit              502
//	Rejected      upstream    the handler wants another response than the one that came     503
const (
	None Kind = iota
	Malformed
	HeadTooLarge
	HeadTimeout
	Unsupported
	Disconnected
	Flood
	NoEndpoint
	Overloaded
	Shutdown
	Timeout
	DialRefused
	DialTimeout
	Identity
	Refused
	Lost
	Reset
	BadResponse
	ResponseTooLarge
	Rejected
)

func (k Kind) String() string {
	return [...]string{
		"none", "malformed", "head_too_large", "head_timeout", "unsupported", "disconnected", "flood", "no_endpoint",
		"overloaded",
		"shutdown", "timeout", "dial_refused", "dial_timeout", "identity", "refused", "lost", "reset", "bad_response",
		"response_too_large", "rejected",
	}[k]
}

// Reasons of a Timeout: which of Exchange.Timeouts passed. They label metrics.
const (
	RequestTimeout  = "total"
	ResponseTimeout = "answer"
	IdleTimeout     = "idle"
	AttemptTimeout  = "attempt" // the only one that is the upstream's fault
)

// Deadline is the reason of a Timeout that is the caller's own: its deadline passed, and the handler noticed.
const Deadline = "deadline"

// PeerApplication is the reason of a DialRefused, DialTimeout or Refused that a peer's proxy had with its application.
const PeerApplication = "application"

// Values of Exchange.CannotResend.
const (
	Final           = "final"             // the client's own fault, or a bound of this proxy's
	TooManyAttempts = "too_many_attempts" // of one request
	NotBuffered     = "not_kept"          // the body has begun to leave, and Exchange.BufferBody was false
	BodyTooLarge    = "body_too_large"    // for its replay buffer
	BuffersFull     = "buffers_full"      // all replay buffers together are full
)

// Fault is why an exchange, or one attempt of it, failed. The zero Fault means that nothing did.
type Fault struct {
	Side Side
	Kind Kind
	// SafeToResend says that the request may be sent again without a policy that allows retries: it was certainly not
	// processed, or it is idempotent (RFC 9110 §9.2.2), has no body and got no response. A retry policy may also resend
	// other requests. Neither can resend a request with a reason in Exchange.CannotResend, such as a body that left and is
	// in no replay buffer; so SafeToResend is false then.
	SafeToResend bool
	// Reason narrows the kind to one constant word such as "te_and_cl"; it may label a metric.
	Reason string
	// Err is the error behind the fault, for logs; nil when there is none.
	Err error
}

// Is reports whether something went wrong.
func (f Fault) Is() bool { return f.Kind != None }

// ServerRefused reports whether the server refused the request and may accept it after a pause. It is false if a peer's
// application refused it: the peer's proxy has paused already.
func (f Fault) ServerRefused() bool {
	return f.Kind == Refused && f.Side == Upstream && f.SafeToResend && f.Reason != PeerApplication
}

func (f Fault) String() string {
	s := f.Side.String() + " " + f.Kind.String()
	if f.Reason != "" {
		s += " (" + f.Reason + ")"
	}
	if f.Err != nil {
		s = fmt.Sprintf("%s: %v", s, f.Err)
	}
	return s
}
