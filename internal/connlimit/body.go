package connlimit

import (
	"net/http"
	"time"
)

// unreadTimeout is how long net/http may wait for the rest of a body that no handler reads.
const unreadTimeout = time.Second

// LeaveBody prepares an answer that leaves the body of r unread. net/http reads the body before it sends the answer,
// and waits for it without a deadline: a client that sends none would keep its connection. So the connection gets a
// deadline, and ends with the answer. A stream of HTTP/2 has neither problem.
func LeaveBody(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor > 1 || r.ContentLength == 0 {
		return
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(unreadTimeout)) // httptest's recorder has none
	w.Header().Set("Connection", "close")
}
