package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/tulle-mesh/tulle/viz/board"
)

// servePage answers a page once.
func (s *Server) servePage(w http.ResponseWriter, r *http.Request) {
	show, q, err := readQuery(r.URL.Query())
	if err != nil {
		why := board.Refuse(err)
		refuse(w, statusOf(why), why)
		return
	}
	snapshot, leave := s.snapshots.watch(s.cfg.Viewer, show, q)
	defer leave()
	now, _, err := snapshot.cell.Wait(r.Context(), 0)
	switch {
	case err != nil: // the browser went away
	case now.refusal != nil:
		refuse(w, statusOf(now.refusal), now.refusal)
	default:
		answerText(w, http.StatusOK, now.page)
	}
}

// serveStream sends a page whenever it is built, as server-sent events (HTML Living Standard, section 9.2).
func (s *Server) serveStream(w http.ResponseWriter, r *http.Request) {
	show, q, err := readQuery(r.URL.Query())
	if err != nil {
		why := board.Refuse(err)
		refuse(w, statusOf(why), why)
		return
	}
	snapshot, leave := s.snapshots.watch(s.cfg.Viewer, show, q)
	defer leave()
	w.Header().Set("Content-Type", "text/event-stream")
	control := http.NewResponseController(w)
	send := func(event string, data []byte) error {
		_ = control.SetWriteDeadline(time.Now().Add(writeTimeout)) // httptest's recorder has none
		if _, err := fmt.Fprintf(w, "event: %s\ndata: %s\n\n", event, data); err != nil {
			return err
		}
		return control.Flush()
	}
	if control.Flush() != nil {
		return
	}
	for seen := uint64(0); ; {
		now, seq, err := snapshot.cell.Wait(r.Context(), seen)
		if err != nil {
			return
		}
		seen = seq
		event, data := "page", now.page
		if now.refusal != nil {
			event = "problem"
			if data, err = json.Marshal(now.refusal); err != nil {
				panic(err) // a Refusal is three texts
			}
		}
		if send(event, data) != nil {
			return
		}
	}
}
