package injector

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"go.uber.org/zap"
	admissionv1 "k8s.io/api/admission/v1"
)

// Limits of the webhook. A pod may be as large as etcd takes, 1.5 MiB, and a review holds it once more for an update.
const (
	maxBodyBytes = 3 << 20
	maxInFlight  = 64
	// A body above largeBody may stand for a hundred times its size in memory, for lists of empty items do: few are worked
	// on at a time.
	largeBody = 128 << 10
	maxLarge  = 2
	// maxReading is how many large bodies are in memory at a time, those that wait for maxLarge included.
	maxReading    = 16
	reviewTimeout = 4 * time.Second // below the 5 s after which the API server stops waiting
)

// handler is the webhook's HTTP face: sizes, methods and statuses. It bounds memory: above maxInFlight a request is
// refused at once, and a large one waits for a slot before more of it is read than largeBody.
type handler struct {
	review  *reviewer
	slots   chan struct{} // capacity maxInFlight: one token a request in progress
	reading chan struct{} // capacity maxReading: one token a large body in memory
	large   chan struct{} // capacity maxLarge: one token a large one that is worked on
	readers readers
	metrics *metrics
	log     *zap.Logger
}

func newHandler(r *reviewer) *handler {
	return &handler{
		review: r, metrics: r.metrics, log: r.log,
		slots: make(chan struct{}, maxInFlight), reading: make(chan struct{}, maxReading),
		large: make(chan struct{}, maxLarge),
	}
}

func (h *handler) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	ctx, cancel := context.WithTimeout(req.Context(), reviewTimeout)
	defer cancel()
	answer, err := h.serve(ctx, w, req)
	if err != nil {
		failure := &reviewError{errInternal, http.StatusInternalServerError, err}
		errors.As(err, &failure)
		h.metrics.errors.WithLabelValues(failure.reason).Inc()
		h.log.Warn("request not answered", zap.String("reason", failure.reason), zap.Error(err))
		http.Error(w, failure.Error(), failure.status)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(answer) // the API server went away: nothing is left to do
}

func (h *handler) serve(ctx context.Context, w http.ResponseWriter, req *http.Request) ([]byte, error) {
	if req.Method != http.MethodPost {
		return nil, &reviewError{errUnreadable, http.StatusMethodNotAllowed, fmt.Errorf("method %q: want POST", req.Method)}
	}
	releaseSlot, err := h.slot(ctx)
	if err != nil {
		return nil, err
	}
	defer releaseSlot()
	body, release, err := h.body(ctx, w, req)
	defer release()
	if err != nil {
		return nil, err
	}
	var in admissionv1.AdmissionReview
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, &reviewError{errUnreadable, http.StatusBadRequest, fmt.Errorf("read review: %w", err)}
	}
	out, err := h.review.review(ctx, &in)
	if err != nil {
		return nil, err
	}
	answer, err := json.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("encode answer: %w", err)
	}
	return answer, nil
}

// slot takes a slot. When there is none, a request whose body is still being read gives up its own.
func (h *handler) slot(ctx context.Context) (release func(), err error) {
	release = func() { <-h.slots }
	select {
	case h.slots <- struct{}{}:
		return release, nil
	default:
	}
	err = &reviewError{errOverload, http.StatusTooManyRequests, fmt.Errorf("more than %d requests at a time", maxInFlight)}
	if !h.readers.evict(false) {
		return nil, err
	}
	select {
	case h.slots <- struct{}{}:
		return release, nil
	case <-ctx.Done():
		return nil, err
	}
}

// body reads the request's body. A large one first waits for its slots, which release gives back.
func (h *handler) body(ctx context.Context, w http.ResponseWriter, req *http.Request) (body []byte, release func(),
	err error) {
	release = func() {}
	// A client that sends slowly must not keep a slot from others.
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(reviewTimeout)) // not every writer has deadlines
	reader := h.readers.add(req.RemoteAddr, control.SetReadDeadline)
	defer func() { h.readers.done(reader) }()
	limited := http.MaxBytesReader(w, req.Body, maxBodyBytes)
	var buffer bytes.Buffer
	if _, err := buffer.ReadFrom(io.LimitReader(limited, largeBody+1)); err != nil {
		return nil, release, readError(err)
	}
	if buffer.Len() <= largeBody {
		return buffer.Bytes(), release, nil
	}
	h.readers.done(reader) // it does not wait for its client
	releaseReading, err := h.acquireReading(ctx)
	if err != nil {
		return nil, release, err
	}
	reader = h.readers.add(req.RemoteAddr, control.SetReadDeadline)
	h.readers.grew(reader)
	if size := min(req.ContentLength, maxBodyBytes); size > 0 {
		buffer.Grow(max(0, int(size)-buffer.Len()) + bytes.MinRead) // in one piece, where growing would hold two
	}
	if _, err := buffer.ReadFrom(limited); err != nil {
		return nil, releaseReading, readError(err)
	}
	h.readers.done(reader) // what waits from here on does not wait for its client
	releaseLarge, err := acquire(ctx, h.large)
	if err != nil {
		return nil, releaseReading, err
	}
	return buffer.Bytes(), func() { releaseLarge(); releaseReading() }, nil
}

// acquireReading waits for a slot of large bodies, and ends slow ones meanwhile.
func (h *handler) acquireReading(ctx context.Context) (release func(), err error) {
	tick := time.NewTicker(slowReading)
	defer tick.Stop()
	for {
		select {
		case h.reading <- struct{}{}:
			return func() { <-h.reading }, nil
		case <-tick.C:
			h.readers.evict(true)
		case <-ctx.Done():
			return acquire(ctx, h.reading)
		}
	}
}

// acquire waits for a slot.
func acquire(ctx context.Context, slots chan struct{}) (release func(), err error) {
	select {
	case slots <- struct{}{}:
		return func() { <-slots }, nil
	case <-ctx.Done():
		return nil, &reviewError{errOverload, http.StatusTooManyRequests,
			fmt.Errorf("more than %d large requests at a time", cap(slots))}
	}
}

func readError(err error) error {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return &reviewError{errTooLarge, http.StatusRequestEntityTooLarge, fmt.Errorf("body is above %d bytes", maxBodyBytes)}
	}
	return &reviewError{errUnreadable, http.StatusBadRequest, fmt.Errorf("read body: %w", err)}
}
