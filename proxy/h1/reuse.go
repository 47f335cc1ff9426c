package h1

import "time"

// Reuse decides whether and when a server's HTTP/1 connection may carry another request. Each upstream has one. The
// zero Reuse knows nothing about its server.
//
// A server may close a connection after any response without a warning (RFC 9112 §9.3). A request that was sent
// meanwhile is lost. In two cases that is likely:
//
//   - The server did not read the request's body: it refused the request, or responded before the whole body was sent.
//     Most servers close then. The connection is quarantined, and is used again if it is still open afterwards. After a
//     large body it is not used again, because servers close it later than that.
//   - The server closes after every response, as tinyproxy does, and the FIN arrives after the response. Until the
//     server has responded on a reused connection, an idle one is on probation: requests that cannot be repeated do
//     not use it.
type Reuse struct {
	proven bool // the server has responded on a reused connection, and has lost no request since
}

const (
	// Quarantine is how long a connection waits if its server may not have read the last request's body.
	Quarantine = 100 * time.Millisecond
	// Probation is the minimum idle time of an unproven server's connection before it carries a request that cannot be
	// repeated.
	Probation = 20 * time.Millisecond
	// LargeBody is the size from which a request's body is large: a server that refuses the request rarely reads all of
	// it.
	LargeBody = 64 << 10
)

// Reusable is whether, and when, a connection may be used again.
type Reusable uint8

// The values of Reusable.
const (
	ReusableNow Reusable = iota
	ReusableAfterQuarantine
	NotReusable
)

// AfterResponse decides about a connection whose response is complete. sent is how many bytes of the request's body
// were sent; unsent means that our buffers still hold a part of the request.
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

// Allows reports whether a request may use an idle connection. requests is how many requests the connection carried
// before, and idle is how long it has been idle.
func (r *Reuse) Allows(requests int, idle time.Duration, idempotent bool) bool {
	return r.proven || requests == 0 || idempotent || idle >= Probation
}

// Answered notes that the server responded on a connection that has carried this number of requests.
func (r *Reuse) Answered(requests int) { r.proven = r.proven || requests > 1 }

// Lost notes that the server closed a connection, after this number of requests, without a response to the last one.
func (r *Reuse) Lost(requests int) { r.proven = r.proven && requests <= 1 }
