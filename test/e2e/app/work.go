package main

import (
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// worker answers /work and its like, counts what it got, and passes it on if it is a link of a chain. It fails and is
// late as /behave tells it to.
type worker struct {
	next   string // the URL of the next link; empty at the end of a chain
	client *http.Client

	mu     sync.Mutex // guards the fields below
	fail   float64    // share of the requests that are failed before anybody else is asked
	delay  time.Duration
	spell  int // requests that fail and delay still hold for; negative: all
	counts worked
}

// worked is what became of the requests of a worker.
type worked struct {
	Received  int `json:"received"`
	Failed    int `json:"failed"`    // by itself
	Abandoned int `json:"abandoned"` // by the caller, before the answer
}

func newWorker(next string) *worker {
	return &worker{next: next, client: &http.Client{Transport: transport("h1")}}
}

func (w *worker) register(mux *http.ServeMux) {
	for _, path := range []string{"/work", "/orders", "/orders/", "/api/"} { // the latter are those of tutorials
		mux.HandleFunc(path, w.work)
	}
	mux.HandleFunc("/behave", w.behave)
	mux.HandleFunc("/worked", w.worked)
}

// behave takes ?fail=SHARE&delay=DURATION, and ?first=COUNT for that many requests only. Without parameters all is well
// again.
func (w *worker) behave(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fail, _ = strconv.ParseFloat(r.FormValue("fail"), 64)
	w.delay, _ = time.ParseDuration(r.FormValue("delay"))
	w.spell = -1
	if first, err := strconv.Atoi(r.FormValue("first")); err == nil {
		w.spell = first
	}
	rw.WriteHeader(http.StatusNoContent)
}

// worked tells the counts since it was last asked.
func (w *worker) worked(rw http.ResponseWriter, _ *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	_ = json.NewEncoder(rw).Encode(w.counts)
	w.counts = worked{}
}

func (w *worker) work(rw http.ResponseWriter, r *http.Request) {
	delay, fail := w.begin()
	select {
	case <-time.After(delay):
	case <-r.Context().Done():
		w.count(func(c *worked) { c.Abandoned++ })
		return
	}
	switch {
	case fail:
		w.count(func(c *worked) { c.Failed++ })
		http.Error(rw, "failed on purpose", http.StatusServiceUnavailable)
	case w.next != "":
		w.passOn(rw, r)
	}
}

// begin counts a request and says what is to become of it.
func (w *worker) begin() (delay time.Duration, fail bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts.Received++
	if w.spell == 0 {
		return 0, false
	}
	w.spell = max(w.spell-1, -1)
	return w.delay, rand.Float64() < w.fail
}

func (w *worker) count(edit func(*worked)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	edit(&w.counts)
}

// passOn calls the next link with nothing of what came but its life and its trace.
func (w *worker) passOn(rw http.ResponseWriter, r *http.Request) {
	req, err := http.NewRequestWithContext(r.Context(), http.MethodGet, w.next, http.NoBody)
	if err != nil {
		http.Error(rw, err.Error(), http.StatusInternalServerError)
		return
	}
	for _, name := range []string{"Traceparent", "Tracestate"} {
		if values := r.Header[name]; len(values) > 0 {
			req.Header[name] = values
		}
	}
	resp, err := w.client.Do(req)
	if err != nil {
		http.Error(rw, err.Error(), http.StatusBadGateway)
		return
	}
	defer func() { _ = resp.Body.Close() }()
	rw.WriteHeader(resp.StatusCode)
	_, _ = io.Copy(rw, resp.Body)
}
