// Package metricsapi is the HTTP API of the viz extension for numbers of the mesh.
//
// It owns the request's bounds, the statuses of errors and the life of the server. Where the numbers come from is its
// Source's business. The one idea: it answers queries and nothing else, so that what a user may see of Kubernetes
// depends on the user's own rights.
package metricsapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/tulle-mesh/tulle/internal/connlimit"
	"github.com/tulle-mesh/tulle/internal/httpserver"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/viz/metrics"
)

// Bounds of a request.
const (
	MaxBody    = 1 << 20
	MaxQueries = 128
	// maxLabels bounds the labels that one query selects by, and those that it keeps.
	maxLabels = 32
)

const (
	// maxRunning bounds the requests that are answered at once.
	maxRunning = 32
	// bodyTimeout bounds the wait for a request's body, writeTimeout that for the client to take the answer.
	bodyTimeout  = 10 * time.Second
	writeTimeout = 30 * time.Second
	// drainTimeout bounds the wait for running requests when the server ends.
	drainTimeout = 5 * time.Second
)

// connections bounds the connections. Port-forwards and the sidecar all come from the loopback address, so that one
// address may have all.
var connections = connlimit.Bounds{Total: 256, PerAddress: 256, Evict: true}

// Config configures a Server.
type Config struct {
	Source   metrics.Source
	Log      *zap.Logger
	Registry prometheus.Registerer
}

// Server answers queries over HTTP.
type Server struct {
	cfg      Config
	running  chan struct{} // holds one value for each request that runs
	requests *prometheus.CounterVec
	refused  prometheus.Counter
}

// New returns a server.
func New(cfg Config) *Server {
	s := &Server{cfg: cfg, running: make(chan struct{}, maxRunning),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tulle_metrics_api_requests_total",
			Help: "Requests by result: ok, invalid, busy, failed or canceled.",
		}, []string{"result"}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tulle_metrics_api_connections_refused_total",
			Help: "Connections that were closed because there were too many.",
		})}
	cfg.Registry.MustRegister(s.requests, s.refused)
	for _, result := range []string{"ok", "invalid", "busy", "failed", "canceled"} {
		s.requests.WithLabelValues(result)
	}
	return s
}

// Run serves until ctx ends, and then waits a little for the requests that run.
func (s *Server) Run(ctx context.Context, lis net.Listener) error {
	server := &http.Server{Handler: s, MaxHeaderBytes: 16 << 10, ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout: time.Minute, ErrorLog: zap.NewStdLog(s.cfg.Log)}
	err := httpserver.Run(ctx, server, drainTimeout, func() error {
		return server.Serve(connlimit.Bounded(lis, connections, s.refused.Inc))
	})
	if err != nil {
		return fmt.Errorf("serve queries: %w", err)
	}
	return nil
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	question, refusal := s.read(w, r)
	if refusal != nil {
		connlimit.LeaveBody(w, r)
		s.refuse(w, "invalid", refusal.status, refusal.err)
		return
	}
	select {
	case s.running <- struct{}{}:
		defer func() { <-s.running }()
	default:
		s.refuse(w, "busy", http.StatusServiceUnavailable,
			fmt.Errorf("%d requests are running: try again later", maxRunning))
		return
	}
	answer, err := question.ask(announceWait(w, r), s.cfg.Source)
	switch {
	case r.Context().Err() != nil:
		s.requests.WithLabelValues("canceled").Inc()
	case errors.Is(err, metrics.ErrNoHistory):
		s.refuse(w, "failed", http.StatusNotImplemented, err)
	case err != nil:
		s.cfg.Log.Warn("no answer", zap.Error(err))
		s.refuse(w, "failed", http.StatusBadGateway, err)
	default:
		s.requests.WithLabelValues("ok").Inc()
		s.write(w, http.StatusOK, answer)
	}
}

// announceWait returns a context with which the first report of progress becomes an interim response: 102 (RFC 2518
// section 10.1) with the seconds that are left. So the client can say why the answer takes so long.
func announceWait(w http.ResponseWriter, r *http.Request) context.Context {
	said := false
	return metrics.WithProgress(r.Context(), func(left time.Duration) {
		if said || left <= 0 {
			return
		}
		said = true
		w.Header().Set(metrics.WaitHeader, strconv.Itoa(int(left/time.Second)))
		w.WriteHeader(http.StatusProcessing)
		w.Header().Del(metrics.WaitHeader)
	})
}

// refusal is why a request is not answered.
type refusal struct {
	status int
	err    error
}

// hosts are the names of metrics-api.
var hosts = func() []string {
	const name, namespace = "metrics-api", "." + mesh.VizNamespace
	return []string{"localhost", name, name + namespace, name + namespace + ".svc", name + namespace +
		".svc.cluster.local"}
}()

// ownHost reports whether a request's Host means this server. A page whose own name resolves to a port-forward sends
// that name, and would count as of the same origin.
func ownHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil || slices.Contains(hosts, strings.TrimSuffix(strings.ToLower(host), "."))
}

// question is what a body asks.
type question interface {
	// validate returns an error about what is beyond the bounds of this server.
	validate() error
	ask(ctx context.Context, source metrics.Source) (answer any, err error)
}

// questions are what metrics-api answers, by path.
var questions = map[string]func() question{
	metrics.QueryPath:   func() question { return &numbers{} },
	metrics.HistoryPath: func() question { return &past{} },
}

// numbers asks for those of now.
type numbers struct{ metrics.Request }

func (q *numbers) ask(ctx context.Context, source metrics.Source) (any, error) {
	return source.Ask(ctx, q.Window, q.Queries)
}

func (q *numbers) validate() error {
	if n := len(q.Queries); n == 0 || n > MaxQueries {
		return fmt.Errorf("%d queries: want 1 to %d", n, MaxQueries)
	}
	if err := validate(q.Window, q.Queries); err != nil {
		return err
	}
	return metrics.Validate(q.Window, q.Queries)
}

// past asks for those of earlier.
type past struct{ metrics.HistoryRequest }

func (h *past) ask(ctx context.Context, source metrics.Source) (any, error) {
	return metrics.AskHistory(ctx, source, h.HistoryRequest)
}

func (h *past) validate() error {
	if err := validate(h.Window, h.Queries); err != nil {
		return err
	}
	return h.Validate()
}

// read returns the question, or why it is refused.
func (s *Server) read(w http.ResponseWriter, r *http.Request) (question, *refusal) {
	refuse := func(status int, format string, args ...any) (question, *refusal) {
		return nil, &refusal{status, fmt.Errorf(format, args...)}
	}
	if !ownHost(r.Host) {
		return refuse(http.StatusMisdirectedRequest, "host %q: want metrics-api, localhost or an address",
			metrics.Printable(r.Host, 100))
	}
	asked, ok := questions[r.URL.Path]
	if !ok {
		return refuse(http.StatusNotFound, "path %q: want %s or %s", metrics.Printable(r.URL.Path, 100), metrics.QueryPath,
			metrics.HistoryPath)
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return refuse(http.StatusMethodNotAllowed, "method %q: want POST", metrics.Printable(r.Method, 100))
	}
	// A page in a browser cannot send this type to another origin, so that it cannot ask through a port-forward.
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return refuse(http.StatusUnsupportedMediaType, "content type: want application/json")
	}
	// The deadline must not stay: once the body is read, it would end the request's context.
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(bodyTimeout)) // httptest's recorder has none
	defer func() { _ = control.SetReadDeadline(time.Time{}) }()
	request := asked()
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, MaxBody))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(request)
	if err == nil {
		if _, more := decoder.Token(); more != io.EOF {
			err = errors.New("more than one JSON value")
		}
	}
	var oversized *http.MaxBytesError
	if errors.As(err, &oversized) {
		return refuse(http.StatusRequestEntityTooLarge, "body: more than %d bytes", MaxBody)
	}
	if err != nil {
		return refuse(http.StatusBadRequest, "decode body: %w", err)
	}
	if err := request.validate(); err != nil {
		return refuse(http.StatusBadRequest, "%w", err)
	}
	return request, nil
}

// validate returns an error about a query that this server does not answer.
func validate(window time.Duration, queries []metrics.Query) error {
	for i, q := range queries {
		if len(q.By) > maxLabels || len(q.Match) > maxLabels {
			return fmt.Errorf("query %d: want at most %d labels in by and in match", i+1, maxLabels)
		}
		if !metrics.Allowed(q.Metric) {
			return fmt.Errorf("query %d: metric %q: tulle viz asks for no such metric", i+1, q.Metric)
		}
		if !q.Now && window < metrics.MinWindow {
			return fmt.Errorf("time window %v: want at least %v", window, metrics.MinWindow)
		}
	}
	return nil
}

func (s *Server) refuse(w http.ResponseWriter, result string, status int, err error) {
	s.requests.WithLabelValues(result).Inc()
	s.write(w, status, map[string]string{"error": err.Error()})
}

func (s *Server) write(w http.ResponseWriter, status int, value any) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout))
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(value); err != nil {
		s.cfg.Log.Debug("answer cut off", zap.Error(err))
	}
}
