package h1

import "time"

// Reuse decides whether a server's HTTP/1 connection may carry another request, and from when. Each upstream has one.
// The zero Reuse knows nothing of its server.
//
// A server may close a connection behind any response without saying so (RFC 9112 §9.3), and a request that is on its
// way then is lost. Two things make that likely:
//
//   - The server did not read the request's body: it refused the request, or answered while parts of it had not
//     left. Most servers close then. The connection is in quarantine, and is used again if it is still open
//     afterwards. After a large body it is not used again, because servers close it later than that.
//   - The server closes behind every response, as tinyproxy does, and the end arrives later than the response.
//     Until the server has answered on a used connection, an idle one is on probation: requests that cannot be
//     repeated do not take it.
type Reuse struct {
	proven bool // the server has answered on a used connection, and closed none since on which a request was lost
}

const (
	// Quarantine is how long a connection waits if its server may not have read the last request's body.
	Quarantine = 100 * time.Millisecond
	// Probation is how old an idle connection must be for a request that cannot be repeated, if its server is unproven.
	Probation = 20 * time.Millisecond
	// LargeBody is the size from which a request's body is large: a server that refuses the request hardly reads to its
	// end.
	LargeBody = 64 << 10
)

// Reusable is when a connection may be used again.
type Reusable uint8

// The answers.
const (
	ReusableNow Reusable = iota
	ReusableAfterQuarantine
	NotReusable
)

// AfterResponse decides about a connection whose response is complete. sent is how much of the request's body left;
// unsent says that something of the request is still in our buffers.
func (r *Reuse) AfterResponse(status int, sent int64, unsent bool) Reusable {
	switch unread := sent > 0 && (status >= 400 || unsent); {
	case !unread:
		return ReusableNow
	case sent > LargeBody:
		return NotReusable
	default:
		return ReusableAfterQuarantine
	}
}

// Allows reports whether a request may take an idle connection that carried so many requests before. idle is how long
// it has been idle.
func (r *Reuse) Allows(requests int, idle time.Duration, repeatable bool) bool {
	return r.proven || requests == 0 || repeatable || idle >= Probation
}

// Answered notes that the server answered on a connection that has carried so many requests.
func (r *Reuse) Answered(requests int) { r.proven = r.proven || requests > 1 }

// Lost notes that the server closed a connection that has carried so many requests, without an answer to the last one.
func (r *Reuse) Lost(requests int) { r.proven = r.proven && requests <= 1 }
