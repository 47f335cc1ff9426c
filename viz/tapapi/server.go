// Package tapapi is the aggregated API through which users watch requests: v1alpha1.tap.linkerd.io.
//
// It owns who asks (the API server's front-proxy certificate), whether they may (a SubjectAccessReview), which proxies
// that means, and the stream of the answer. It holds no client: its Config asks the cluster. The one idea: the path
// alone names what is watched, so nothing else in a request can widen what was reviewed.
package tapapi

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/internal/connlimit"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/viz/tap"
)

// Bounds of the server.
const (
	// maxWatches bounds the watches at once, maxBody the bytes of a request.
	maxWatches = 32
	maxBody    = 64 << 10
	// writeTimeout is how long a client may take no byte before its watch ends.
	writeTimeout = time.Minute
)

// connections bounds the connections. All requests come from the API servers, each over a few connections.
var connections = connlimit.Bounds{Total: 512, PerAddress: 256, Evict: true}

// Config configures a Server. Every field must be set.
type Config struct {
	// FrontProxy returns how to recognize the API server now.
	FrontProxy func() *FrontProxy
	// Review asks the API server whether a user may do something.
	Review func(context.Context, authorizationv1.SubjectAccessReviewSpec) (
		authorizationv1.SubjectAccessReviewStatus, error)
	// Pods lists the pods of a namespace that have the labels of a selector.
	Pods func(ctx context.Context, namespace, selector string) ([]corev1.Pod, error)
	// Watch watches proxies; see tap.Watcher.
	Watch func(context.Context, []tap.Target, tap.Query, func(tap.Message) error) error
	// TLS holds the serving certificate. The server asks clients for theirs.
	TLS *tls.Config
	// ID is the tap server's own identity: a proxy that expects another cannot be watched.
	ID       mesh.ID
	Log      *zap.Logger
	Registry prometheus.Registerer
}

// Server answers requests of the aggregated API. Make it with New.
type Server struct {
	cfg      Config
	watches  chan struct{} // holds one value for each watch that runs
	requests *prometheus.CounterVec
	refused  prometheus.Counter
}

// New returns a server.
func New(cfg Config) *Server {
	s := &Server{
		cfg: cfg, watches: make(chan struct{}, maxWatches),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tulle_tap_api_requests_total",
			Help: "Requests to watch by result: ok, invalid, unauthenticated, denied, busy or failed.",
		}, []string{"result"}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tulle_tap_api_connections_refused_total",
			Help: "Connections that were closed because there were too many.",
		}),
	}
	cfg.Registry.MustRegister(s.requests, s.refused)
	return s
}

// Run serves lis until ctx ends. Watches end with it.
func (s *Server) Run(ctx context.Context, lis net.Listener) error {
	config := s.cfg.TLS.Clone()
	config.ClientAuth = tls.RequestClientCert // verified for each request, so that its answer says what is wrong
	server := &http.Server{
		Handler: s, TLSConfig: config, MaxHeaderBytes: 64 << 10, ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout: 2 * time.Minute,
		ErrorLog:    zap.NewStdLog(s.cfg.Log),
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	err := server.ServeTLS(connlimit.Bounded(lis, connections, s.refused.Inc), "", "")
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve tap: %w", err)
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	user, err := s.cfg.FrontProxy().authenticate(r)
	if err != nil {
		s.refuse(w, &refusal{"unauthenticated", http.StatusUnauthorized, err.Error()})
		return
	}
	if document := discovery(r.URL.Path); document != nil && r.Method == http.MethodGet {
		s.write(w, http.StatusOK, document)
		return
	}
	what, no := parsePath(r.URL.Path)
	if no == nil && r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		no = &refusal{"invalid", http.StatusMethodNotAllowed, "want POST"}
	}
	var query tap.Query
	var selector string
	if no == nil {
		query, selector, no = s.readBody(w, r)
	}
	if no == nil {
		no = s.authorize(r.Context(), user, what)
	}
	if no != nil {
		s.refuse(w, no)
		return
	}
	s.watch(w, r, user, request{what, selector, query})
}

// request is what an authorized user watches.
type request struct {
	path
	selector string
	query    tap.Query
}

// authorize asks whether the user may watch what the path names.
func (s *Server) authorize(ctx context.Context, user *user, what path) *refusal {
	spec := user.spec()
	spec.ResourceAttributes = &authorizationv1.ResourceAttributes{
		Namespace: what.namespace, Verb: "watch", Group: tap.Group, Version: tap.Version, Resource: what.resource,
		Subresource: "tap", Name: what.name,
	}
	review, err := s.cfg.Review(ctx, spec)
	switch {
	case err != nil:
		return &refusal{"failed", http.StatusInternalServerError, fmt.Sprintf("review the access of the user: %v", err)}
	case !review.Allowed || review.Denied:
		return &refusal{"denied", http.StatusForbidden, fmt.Sprintf(
			"user %q needs the verb watch on %s/tap of the API group %s, for %q in namespace %q", user.name, what.resource,
			tap.Group, what.name, what.namespace)}
	}
	return nil
}

// watch finds the proxies and streams what they show.
func (s *Server) watch(w http.ResponseWriter, r *http.Request, user *user, q request) {
	select {
	case s.watches <- struct{}{}:
		defer func() { <-s.watches }()
	default:
		s.refuse(w, &refusal{"busy", http.StatusTooManyRequests, fmt.Sprintf("%d watches run already", maxWatches)})
		return
	}
	pods, err := s.cfg.Pods(r.Context(), q.namespace, q.selector)
	if err != nil {
		s.refuse(w, &refusal{"failed", http.StatusInternalServerError, fmt.Sprintf("list pods: %v", err)})
		return
	}
	targets, skipped := s.targets(q.path, pods)
	if len(targets) == 0 {
		s.refuse(w, &refusal{"invalid", http.StatusNotFound, noTargets(q.path, skipped)})
		return
	}
	if len(targets) > tap.MaxTargets {
		s.refuse(w, &refusal{"invalid", http.StatusBadRequest, fmt.Sprintf(
			"%d pods: want at most %d; name a workload or labels", len(targets), tap.MaxTargets)})
		return
	}
	s.cfg.Log.Info("watch began", zap.String("user", user.name), zap.Stringer("of", q.path),
		zap.Int("proxies", len(targets)))
	defer s.cfg.Log.Info("watch ended", zap.String("user", user.name), zap.Stringer("of", q.path))
	s.requests.WithLabelValues("ok").Inc()
	w.Header().Set("Content-Type", tap.ContentType)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusOK)
	s.stream(w, r, func(emit func(tap.Message) error) error {
		for _, n := range skipped {
			if err := emit(tap.Message{Notice: &n}); err != nil {
				return err
			}
		}
		return s.cfg.Watch(r.Context(), targets, q.query, emit)
	})
}

// stream writes every message that run emits as one line. If run fails, the client has a notice of each proxy already.
func (s *Server) stream(w http.ResponseWriter, r *http.Request, run func(emit func(tap.Message) error) error) {
	control, enc := http.NewResponseController(w), json.NewEncoder(w)
	err := run(func(m tap.Message) error {
		if err := control.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
			return err
		}
		if err := enc.Encode(m); err != nil {
			return err
		}
		return control.Flush()
	})
	if err != nil && r.Context().Err() == nil {
		s.cfg.Log.Info("watch failed", zap.Error(err))
	}
}

// refusal is why a request is not answered; result is the label of the metric.
type refusal struct {
	result string
	status int
	text   string
}

// refuse writes a Status, as the Kubernetes API does.
func (s *Server) refuse(w http.ResponseWriter, no *refusal) {
	s.requests.WithLabelValues(no.result).Inc()
	reasons := map[int]metav1.StatusReason{
		http.StatusUnauthorized: metav1.StatusReasonUnauthorized, http.StatusForbidden: metav1.StatusReasonForbidden,
		http.StatusNotFound: metav1.StatusReasonNotFound, http.StatusBadRequest: metav1.StatusReasonBadRequest,
		http.StatusMethodNotAllowed: metav1.StatusReasonMethodNotAllowed,
		http.StatusTooManyRequests:  metav1.StatusReasonTooManyRequests,
	}
	s.write(w, no.status, metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure, Message: no.text,
		Reason: reasons[no.status], Code: int32(no.status),
	})
}

func (s *Server) write(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(body); err != nil {
		s.cfg.Log.Debug("answer cut off", zap.Error(err))
	}
}

// readBody returns the query of a request, and the labels of the pods. A field that it does not know is an error.
func (s *Server) readBody(w http.ResponseWriter, r *http.Request) (tap.Query, string, *refusal) {
	invalid := func(err error) (tap.Query, string, *refusal) {
		return tap.Query{}, "", &refusal{"invalid", http.StatusBadRequest, fmt.Sprintf("read the request: %v", err)}
	}
	var body tap.Request
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&body); err != nil && !errors.Is(err, io.EOF) {
		return invalid(err)
	}
	direction, known := map[string]mesh.TapDirection{
		"": mesh.TapBoth, "inbound": mesh.TapInbound, "outbound": mesh.TapOutbound,
	}[body.Direction]
	if !known {
		return invalid(fmt.Errorf("direction %q: want inbound or outbound", body.Direction))
	}
	if body.MaxRPS == 0 {
		body.MaxRPS = mesh.DefaultTapRate
	}
	if body.MaxRPS < 0 || body.MaxRPS > mesh.MaxTapRate {
		return invalid(fmt.Errorf("maxRps %d: want 1 to %d", body.MaxRPS, mesh.MaxTapRate))
	}
	if _, err := metav1.ParseToLabelSelector(body.LabelSelector); err != nil {
		return invalid(fmt.Errorf("labelSelector: %w", err))
	}
	return tap.Query{MaxPerSecond: body.MaxRPS, TapQuery: mesh.TapQuery{
		Direction: direction, Method: body.Method, Scheme: body.Scheme, Authority: body.Authority,
		PathPrefix: body.PathPrefix, Headers: body.Headers, PerSecond: uint32(body.MaxRPS),
		To: mesh.TapDestination{Namespace: body.To.Namespace, Kind: body.To.Kind, Name: body.To.Name},
	}}, body.LabelSelector, nil
}
