package injector

import (
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
	// A body above largeBody may stand for a hundred times its size in memory, for lists of empty items do: few are worked on at a time.
	largeBody     = 128 << 10
	maxLarge      = 2
	reviewTimeout = 4 * time.Second // below the 5 s after which the API server stops waiting
)

// handler is the webhook's HTTP face: sizes, methods and statuses. Bodies are read and answered one by one; above maxInFlight at a
// time a request is turned away at once, so that memory stays bounded.
type handler struct {
	review  *reviewer
	slots   chan struct{} // capacity maxInFlight: one token a request in progress
	large   chan struct{} // capacity maxLarge: one token a large one
	metrics *metrics
	log     *zap.Logger
}

func newHandler(r *reviewer) *handler {
	return &handler{review: r, slots: make(chan struct{}, maxInFlight), large: make(chan struct{}, maxLarge), metrics: r.metrics, log: r.log}
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
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	default:
		return nil, &reviewError{errOverload, http.StatusTooManyRequests, fmt.Errorf("more than %d requests at a time", maxInFlight)}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxBodyBytes))
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return nil, &reviewError{errTooLarge, http.StatusRequestEntityTooLarge, fmt.Errorf("body is above %d bytes", maxBodyBytes)}
		}
		return nil, &reviewError{errUnreadable, http.StatusBadRequest, fmt.Errorf("read body: %w", err)}
	}
	if len(body) > largeBody {
		select {
		case h.large <- struct{}{}:
			defer func() { <-h.large }()
		case <-ctx.Done():
			return nil, &reviewError{errOverload, http.StatusTooManyRequests, fmt.Errorf("more than %d large requests at a time", maxLarge)}
		}
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
