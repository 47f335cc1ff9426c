// Package tapapi is the aggregated API through which users watch requests: v1alpha1.tap.linkerd.io.
//
// It owns authentication (the API server's front-proxy certificate), authorization (a SubjectAccessReview), the choice
// of the proxies, and the stream of the answer. It holds no client: its Config asks the cluster. The one idea: the path
// alone names what is watched, so nothing else in a request can exceed what was reviewed.
package tapapi

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
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
	// maxWatches bounds the watches at once, maxUserWatches those of one user.
	maxWatches     = 32
	maxUserWatches = 8
	// maxUserOfProxy bounds the subscriptions of one user to one proxy, which has 8.
	maxUserOfProxy = 3
	// maxBody bounds the bytes of a request, bodyTimeout how long it may take to come.
	maxBody     = 64 << 10
	bodyTimeout = 10 * time.Second
	// callTimeout bounds a call of the API server.
	callTimeout = 10 * time.Second
	// maxLogLines bounds the refusals that are logged in a second.
	maxLogLines = 10
	// writeTimeout is how long a client may take no byte before its watch ends.
	writeTimeout = time.Minute
)

// Defaults of Config.ReviewEvery and Config.ReviewGrace.
const (
	reviewEvery = time.Minute
	reviewGrace = 5 * time.Minute
)

// connections bounds the connections. All requests come from the API servers, each over a few connections, which have
// places of their own. The pod's sidecar does not capture the port: all addresses would be the sidecar's.
var connections = connlimit.Bounds{Total: 256, PerAddress: 128, Evict: true, Known: 256}

// Config configures a Server. Every field must be set, except where 0 has a meaning.
type Config struct {
	// FrontProxy returns the current settings by which to recognize the API server.
	FrontProxy func() *FrontProxy
	// Review sends a SubjectAccessReview to the API server.
	Review func(context.Context, authorizationv1.SubjectAccessReviewSpec) (
		authorizationv1.SubjectAccessReviewStatus, error)
	// Pods lists the pods of a namespace that a label selector selects.
	Pods func(ctx context.Context, namespace, selector string) ([]corev1.Pod, error)
	// Watch watches proxies; see tap.Watcher.
	Watch func(context.Context, []tap.Target, tap.Query, func(tap.Message) error) error
	// TLS holds the serving certificate. The server asks clients for theirs.
	TLS *tls.Config
	// ID is the tap server's own identity: a proxy that expects another cannot be watched.
	ID mesh.ID
	// ReviewEvery is how often a right is reviewed again, ReviewGrace how long a watch goes on while the API server gives
	// no answer. 0 means a minute and five minutes.
	ReviewEvery, ReviewGrace time.Duration

	Log      *zap.Logger
	Registry prometheus.Registerer
}

// Server answers requests of the aggregated API. Make it with New.
type Server struct {
	cfg          Config
	bodyTimeout  time.Duration
	writeTimeout time.Duration
	users        users
	logged       logLimit
	requests     *prometheus.CounterVec
	refused      prometheus.Counter
	revoked      *prometheus.CounterVec
}

// New returns a Server, and registers its metrics.
func New(cfg Config) *Server {
	cfg.ReviewEvery, cfg.ReviewGrace = cmp.Or(cfg.ReviewEvery, reviewEvery), cmp.Or(cfg.ReviewGrace, reviewGrace)
	s := &Server{
		cfg: cfg, bodyTimeout: bodyTimeout, writeTimeout: writeTimeout,
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tulle_tap_api_requests_total",
			Help: "Requests to watch by result: ok, invalid, unauthenticated, denied, busy or failed.",
		}, []string{"result"}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tulle_tap_api_connections_refused_total",
			Help: "Connections that were closed because there were too many.",
		}),
		revoked: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tulle_tap_api_watches_revoked_total",
			Help: "Watches that the server ended by reason: denied (the user lost the right) or failed (nobody could say).",
		}, []string{"reason"}),
	}
	cfg.Registry.MustRegister(s.requests, s.refused, s.revoked)
	return s
}

// Run serves lis until ctx ends. Watches end with it.
func (s *Server) Run(ctx context.Context, lis net.Listener) error {
	config := s.cfg.TLS.Clone()
	config.ClientAuth = tls.RequestClientCert // verified for each request, so that its answer says what is wrong
	server := &http.Server{
		Handler: s, TLSConfig: config, MaxHeaderBytes: 64 << 10, ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout: 2 * time.Minute, ConnContext: withConn,
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

// rawConn is the key of a connection in the context of its requests.
type rawConn struct{}

// withConn lets a request find its connection below TLS.
func withConn(ctx context.Context, c net.Conn) context.Context {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	return context.WithValue(ctx, rawConn{}, c)
}

// ServeHTTP implements http.Handler. The order bounds what a client may cost: one that is not the API server, or a user
// without the right, is refused before anything of the body is read.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	user, err := s.cfg.FrontProxy().authenticate(r)
	if err != nil {
		s.refuse(w, r, nil, &refusal{"unauthenticated", http.StatusUnauthorized, err.Error()})
		return
	}
	if c, ok := r.Context().Value(rawConn{}).(net.Conn); ok {
		connlimit.Admit(c) // without a free place it stays among those that may be evicted
	}
	if document := discovery(r.URL.Path); document != nil && r.Method == http.MethodGet {
		connlimit.LeaveBody(w, r)
		s.write(w, http.StatusOK, document)
		return
	}
	if strings.HasPrefix(r.URL.Path, "/openapi/") {
		connlimit.LeaveBody(w, r)
		http.NotFound(w, r) // the API server asks all aggregated APIs for a schema, and goes on without
		return
	}
	if no := s.serve(w, r, user); no != nil {
		s.refuse(w, r, user, no)
	}
}

// serve serves a watch to an authenticated user, or returns why not.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, user *user) *refusal {
	what, no := parsePath(r.URL.Path)
	if no == nil && r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		no = &refusal{"invalid", http.StatusMethodNotAllowed, "want POST"}
	}
	if no == nil {
		no = s.authorize(r.Context(), user, what)
	}
	if no == nil {
		no = s.users.begin(user.name)
	}
	if no != nil {
		return no
	}
	defer s.users.end(user.name)
	query, selector, no := s.readBody(w, r)
	if no != nil {
		return no
	}
	return s.watch(w, r, user, request{what, selector, query})
}

// authorize asks whether the user may watch what the path names.
func (s *Server) authorize(ctx context.Context, user *user, what path) *refusal {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
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

// refusal is why a request is not answered; result is the label of the metric.
type refusal struct {
	result string
	status int
	text   string
}

// refuse writes a Status, as the Kubernetes API does. user is nil if nobody knows who asks.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, user *user, no *refusal) {
	s.requests.WithLabelValues(no.result).Inc()
	s.logRefusal(r, user, no)
	reasons := map[int]metav1.StatusReason{
		http.StatusUnauthorized: metav1.StatusReasonUnauthorized, http.StatusForbidden: metav1.StatusReasonForbidden,
		http.StatusNotFound: metav1.StatusReasonNotFound, http.StatusBadRequest: metav1.StatusReasonBadRequest,
		http.StatusMethodNotAllowed: metav1.StatusReasonMethodNotAllowed,
		http.StatusTooManyRequests:  metav1.StatusReasonTooManyRequests,
	}
	connlimit.LeaveBody(w, r)
	s.write(w, no.status, metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure, Message: no.text,
		Reason: reasons[no.status], Code: int32(no.status),
	})
}

// logRefusal logs who was refused what and why. Anybody may cause refusals, so it logs a bounded number a second.
func (s *Server) logRefusal(r *http.Request, user *user, no *refusal) {
	suppressed, ok := s.logged.take(time.Now())
	if !ok {
		return
	}
	name := ""
	if user != nil {
		name = user.quoted()
	}
	s.cfg.Log.Info("request refused", zap.String("user", name), zap.String("client", r.RemoteAddr),
		zap.String("path", fmt.Sprintf("%.256q", r.URL.Path)), zap.String("result", no.result),
		zap.String("reason", no.text), zap.Int("unlogged", suppressed))
}

// logLimit limits the lines that are logged in a second. Several goroutines may call its methods.
type logLimit struct {
	mu         sync.Mutex // guards the fields below
	second     time.Time
	n          int
	suppressed int
}

// take reports whether one more line may be logged, and how many were suppressed since the last.
func (l *logLimit) take(now time.Time) (suppressed int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.second) >= time.Second {
		l.second, l.n = now, 0
	}
	if l.n == maxLogLines {
		l.suppressed++
		return 0, false
	}
	l.n++
	suppressed, l.suppressed = l.suppressed, 0
	return suppressed, true
}

func (s *Server) write(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(body); err != nil {
		s.cfg.Log.Debug("answer cut off", zap.Error(err))
	}
}
