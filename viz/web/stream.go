package web

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/tulle-mesh/tulle/viz/board"
)

// heartbeat is how long a stream may be silent. Proxies between the server and a browser may close it after a minute.
const heartbeat = 20 * time.Second

// open returns the snapshot of the page that a request names. If it returns false, it has answered the request. The
// caller calls leave at the end.
func (s *Server) open(w http.ResponseWriter, r *http.Request) (found *snapshot, leave func(), ok bool) {
	build, q, err := readQuery(r.URL.Query())
	if err != nil {
		why := board.Refuse(err)
		writeRefusal(w, statusOf(why), why)
		return nil, nil, false
	}
	release, ok := s.streams.acquire(w, viewerOf(r).account())
	if !ok {
		return nil, nil, false
	}
	found, end := s.snapshots.watch(viewerOf(r), build, q)
	return found, func() {
		end()
		release()
	}, true
}

// servePage answers with the page as JSON, once it is built.
func (s *Server) servePage(w http.ResponseWriter, r *http.Request) {
	snapshot, leave, ok := s.open(w, r)
	if !ok {
		return
	}
	defer leave()
	now, _, err := snapshot.cell.Wait(r.Context(), 0)
	switch {
	case err != nil: // the browser went away
	case now.refusal != nil:
		writeRefusal(w, statusOf(now.refusal), now.refusal)
	default:
		writeEncoded(w, http.StatusOK, now.page)
	}
}

// serveStream sends the page each time that it is built, as server-sent events (HTML Living Standard, section 9.2):
// page with the JSON of the page, or refusal with that of a board.Refusal.
func (s *Server) serveStream(w http.ResponseWriter, r *http.Request) {
	snapshot, leave, ok := s.open(w, r)
	if !ok {
		return
	}
	defer leave()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // an nginx in front of it sends each message on at once
	control := http.NewResponseController(w)
	send := func(format string, args ...any) error {
		_ = control.SetWriteDeadline(time.Now().Add(s.writeTimeout)) // httptest's recorder has none
		if _, err := fmt.Fprintf(w, format, args...); err != nil {
			return err
		}
		return control.Flush()
	}
	if control.Flush() != nil {
		return
	}
	for seen := uint64(0); ; {
		now, seq, err := next(r.Context(), snapshot, seen)
		seen = seq
		switch {
		case r.Context().Err() != nil:
			return
		case err != nil:
			err = send(": nothing new\n\n")
		case now.refusal != nil:
			err = send("event: refusal\ndata: %s\n\n", now.refusalText())
		default:
			err = send("event: page\ndata: %s\n\n", now.page)
		}
		if err != nil {
			return
		}
	}
}

// next returns the state after the one with sequence number seen, or an error if none comes within a heartbeat.
func next(ctx context.Context, s *snapshot, seen uint64) (state, uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, heartbeat)
	defer cancel()
	return s.cell.Wait(ctx, seen)
}

func (s state) refusalText() []byte {
	text, err := json.Marshal(s.refusal)
	if err != nil {
		panic(err) // a Refusal is three texts
	}
	return text
}
