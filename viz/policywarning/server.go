// Package policywarning warns users who apply a policy about the callers that it would cut off.
//
// It owns the admission webhook: its bounds, and the text of the warnings. The evaluation is that of `tulle policy
// what-if` (cli/learn). It must not import a client: its Config reads the cluster. The one idea: it allows every
// request, and soon. It warns only in namespaces with the annotation, and only if there are numbers.
package policywarning

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	admissionv1 "k8s.io/api/admission/v1"

	"github.com/tulle-mesh/tulle/controller/model"
	"github.com/tulle-mesh/tulle/internal/connlimit"
	"github.com/tulle-mesh/tulle/internal/httpserver"
	"github.com/tulle-mesh/tulle/viz/metrics"
)

// Path is where the webhook takes reviews.
const Path = "/policy-warnings"

const (
	// reviewTimeout bounds one review. The promised bound is 500 ms; the rest is for the connection.
	reviewTimeout = 400 * time.Millisecond
	// maxRunning bounds the evaluations at once, also those past reviewTimeout: each holds the objects of a namespace.
	maxRunning = 4
	// maxBody is far above any policy, and keeps what all connections can hold well below the memory limit.
	maxBody = 512 << 10
	// optInTTL is how long the annotation of a namespace is cached, and maxOptIns how many are.
	optInTTL  = time.Second
	maxOptIns = 256
	// drainTimeout bounds the wait for running reviews when the server ends.
	drainTimeout = time.Second
)

// connections bounds the connections. The API servers are few.
var connections = connlimit.Bounds{Total: 64, PerAddress: 32, Evict: true}

// Config configures a Server.
type Config struct {
	// OptedIn reports whether a namespace has the annotation that asks for warnings.
	OptedIn func(ctx context.Context, namespace string) (bool, error)
	// Read returns the objects of a namespace that policy depends on.
	Read func(ctx context.Context, namespace string) (model.Config, []model.Event, error)
	// Source answers about the traffic; nil if there is no source, and then no warning.
	Source   metrics.Source
	TLS      *tls.Config
	Now      func() time.Time
	Log      *zap.Logger
	Registry prometheus.Registerer
}

// Server answers the reviews of the API server.
type Server struct {
	cfg     Config
	running chan struct{} // holds one value for each evaluation that runs
	reviews *prometheus.CounterVec

	mu     sync.Mutex
	optIns map[string]cachedOptIn
}

// cachedOptIn is whether a namespace has opted in, as of the last look.
type cachedOptIn struct {
	optedIn bool
	until   time.Time
}

// Results of reviews: label values.
const (
	resultWarned    = "warned"
	resultQuiet     = "quiet"      // no caller is cut off
	resultNotAsked  = "not_asked"  // the namespace has not opted in
	resultNoNumbers = "no_numbers" // no caller is known
	resultLate      = "late"
	resultBusy      = "busy"
	resultFailed    = "failed"
	resultInvalid   = "invalid" // not a review
)

// New returns a server.
func New(cfg Config) *Server {
	s := &Server{cfg: cfg, running: make(chan struct{}, maxRunning), optIns: map[string]cachedOptIn{},
		reviews: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tulle_metrics_api_policy_reviews_total",
			Help: "Changes of policy that the API server showed, by result: warned, quiet, not_asked, no_numbers, late, " +
				"busy, failed or invalid.",
		}, []string{"result"})}
	cfg.Registry.MustRegister(s.reviews)
	for _, result := range []string{resultWarned, resultQuiet, resultNotAsked, resultNoNumbers, resultLate, resultBusy,
		resultFailed, resultInvalid} {
		s.reviews.WithLabelValues(result)
	}
	return s
}

// Run serves until ctx ends, and then waits a little for the reviews that run.
func (s *Server) Run(ctx context.Context, lis net.Listener) error {
	// Without HTTP/2 a connection is one request, so that the bound of connections bounds those too.
	server := &http.Server{Handler: s, TLSConfig: s.cfg.TLS,
		TLSNextProto:   map[string]func(*http.Server, *tls.Conn, http.Handler){},
		MaxHeaderBytes: 16 << 10, ReadTimeout: 5 * time.Second,
		WriteTimeout: 5 * time.Second, IdleTimeout: 2 * time.Minute, ErrorLog: zap.NewStdLog(s.cfg.Log)}
	err := httpserver.Run(ctx, server, drainTimeout, func() error {
		return server.ServeTLS(connlimit.Bounded(lis, connections, func() {}), "", "")
	})
	if err != nil {
		return fmt.Errorf("serve policy warnings: %w", err)
	}
	return nil
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var review admissionv1.AdmissionReview
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&review)
	if err != nil || r.Method != http.MethodPost || r.URL.Path != Path || review.Request == nil {
		s.reviews.WithLabelValues(resultInvalid).Inc()
		http.Error(w, "want a POST of an AdmissionReview to "+Path, http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), reviewTimeout)
	defer cancel()
	result, warnings, err := s.review(ctx, review.Request)
	s.reviews.WithLabelValues(result).Inc()
	if err != nil {
		s.cfg.Log.Debug("no warning", zap.String("result", result), zap.String("namespace", review.Request.Namespace),
			zap.String("name", review.Request.Name), zap.Error(err))
	}
	response := admissionv1.AdmissionReview{TypeMeta: review.TypeMeta, Response: &admissionv1.AdmissionResponse{
		UID: review.Request.UID, Allowed: true, Warnings: warnings}}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(response) // the API server went away: nothing is left to do
}

// review returns the warnings about a request, and the result for the metric. It returns when ctx ends.
func (s *Server) review(ctx context.Context, req *admissionv1.AdmissionRequest) (string, []string, error) {
	in, err := s.optedIn(ctx, req.Namespace)
	if err != nil {
		return resultOfError(ctx), nil, err
	}
	if !in {
		return resultNotAsked, nil, nil
	}
	select {
	case s.running <- struct{}{}:
	default:
		return resultBusy, nil, nil
	}
	type outcome struct {
		warnings []string
		err      error
	}
	done := make(chan outcome, 1)
	go func() { // an evaluation cannot be interrupted
		defer func() { <-s.running }()
		warnings, err := s.warnings(ctx, req)
		done <- outcome{warnings, err}
	}()
	select {
	case <-ctx.Done():
		return resultLate, nil, ctx.Err()
	case o := <-done:
		switch {
		case errors.Is(o.err, errNoNumbers):
			return resultNoNumbers, nil, nil
		case o.err != nil:
			return resultOfError(ctx), nil, o.err
		case len(o.warnings) == 0:
			return resultQuiet, nil, nil
		}
		return resultWarned, o.warnings, nil
	}
}

// resultOfError returns the result of a review that failed.
func resultOfError(ctx context.Context) string {
	if ctx.Err() != nil {
		return resultLate
	}
	return resultFailed
}

// optedIn reports whether a namespace has opted in. It caches the answer for a moment: a file has many policies.
func (s *Server) optedIn(ctx context.Context, namespace string) (bool, error) {
	now := s.cfg.Now()
	s.mu.Lock()
	known, ok := s.optIns[namespace]
	s.mu.Unlock()
	if ok && now.Before(known.until) {
		return known.optedIn, nil
	}
	in, err := s.cfg.OptedIn(ctx, namespace)
	if err != nil {
		return false, fmt.Errorf("get namespace: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.optIns) >= maxOptIns {
		clear(s.optIns)
	}
	s.optIns[namespace] = cachedOptIn{in, now.Add(optInTTL)}
	return in, nil
}
