package web

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/tulle-mesh/tulle/viz/board"
)

// writeTimeout bounds how long a browser may take to read one answer, or one event of a stream.
const writeTimeout = 10 * time.Second

// writeJSON writes a value as JSON.
func writeJSON(w http.ResponseWriter, status int, value any) {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err) // all fields of these values can be encoded
	}
	writeEncoded(w, status, text)
}

func writeEncoded(w http.ResponseWriter, status int, text []byte) {
	// Building a page may have taken longer than the deadline that was set when the request began.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout)) // httptest's recorder has none
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(text) // the browser went away
}

// writeRefusal answers with a Refusal as JSON.
func writeRefusal(w http.ResponseWriter, status int, why *board.Refusal) { writeJSON(w, status, why) }

// statusOf returns the HTTP status of a Refusal.
func statusOf(r *board.Refusal) int {
	switch r.Code {
	case board.Forbidden:
		return http.StatusForbidden
	case board.NotFound:
		return http.StatusNotFound
	case board.BadRequest:
		return http.StatusBadRequest
	}
	return http.StatusBadGateway
}
