// Package web is the server of the dashboard.
//
// It owns the embedded app, the session, the checks of a request, and the streams that carry pages to browsers. A page
// is a function of viz/board; the table pages lists them. The one idea: a page is built once for all viewers with the
// same rights, and numbers are read once for all viewers.
package web

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/tulle-mesh/tulle/internal/connlimit"
	"github.com/tulle-mesh/tulle/viz/board"
)

const (
	// maxHeaders bounds the head of a request, with its address, in bytes.
	maxHeaders = 16 << 10
	// headerTimeout bounds the wait for the head, and idleTimeout the wait for the next request of a connection.
	headerTimeout = 5 * time.Second
	idleTimeout   = time.Minute
	// credentialsFor is how long a stream goes on with the credentials that it began with. A new one has those of then:
	// the API server knows what a user may do, but not that a proxy would name the user or the groups no more.
	credentialsFor = 15 * time.Minute
	// drainTimeout bounds the wait for running requests when the server stops.
	drainTimeout = 2 * time.Second
)

// Config configures a Server.
type Config struct {
	// Hosts are the hosts that a request may name, with the port unless it is the scheme's: localhost:50750.
	Hosts []string
	// Origin is that of the dashboard's own pages, as in https://dashboard.example.com; "" is http and the request's
	// host.
	Origin string
	// Viewer is the viewer of a browser that has a session.
	Viewer Viewer
	// Authenticate returns the viewer of a request, or an *AuthError. If it is set, there are no sessions, and Viewer is
	// not used.
	Authenticate func(*http.Request) (Viewer, error)
	// AppConfig returns the answer of /api/config.
	AppConfig func(context.Context) AppConfig
	Log       *zap.Logger
	// MaxStreams and MaxViewerStreams bound the pages that are open at once, of all viewers and of each; 0 means 512 and
	// 32. A tap is not a page: a viewer may have 4, and all may have 64.
	MaxStreams, MaxViewerStreams int
}

// The defaults of Config's bounds, and the bounds of taps and connections.
const (
	defaultStreams       = 512
	defaultViewerStreams = 32
	maxTaps              = 64
	maxViewerTaps        = 4
	maxConnections       = 2048
)

// AppConfig is what the app has to know besides the pages: the JSON of /api/config.
type AppConfig struct {
	Version string `json:"version"`
	// Cluster is the name of the kubeconfig's context.
	Cluster string `json:"cluster"`
	// Namespace is the one with which pages begin; "" is every namespace.
	Namespace string `json:"namespace"`
	// Viewer is the viewer's name, "" if not known.
	Viewer string `json:"viewer"`
	// GrafanaURL is the address of Grafana. A trace's ID is added to TraceURL. Each is "" without such links.
	GrafanaURL string `json:"grafanaURL"`
	TraceURL   string `json:"traceURL"`
}

// Server serves the dashboard. It implements http.Handler.
type Server struct {
	cfg       Config
	mux       *http.ServeMux
	session   *session
	snapshots snapshots
	streams   viewerLimit
	taps      viewerLimit
	// writeTimeout bounds how long a browser may take to read one event of a stream.
	writeTimeout time.Duration
	// credentialsFor bounds how long one request counts on the credentials that it came with.
	credentialsFor time.Duration
}

// New returns a server. Run or ServeHTTP serves requests; Run also waits for the builds of pages.
func New(cfg Config) *Server {
	s := &Server{cfg: cfg, mux: http.NewServeMux(), session: newSession(cfg.Log), writeTimeout: writeTimeout,
		credentialsFor: credentialsFor,
		streams: viewerLimit{all: cmp.Or(cfg.MaxStreams, defaultStreams),
			each: cmp.Or(cfg.MaxViewerStreams, defaultViewerStreams)},
		taps: viewerLimit{all: maxTaps, each: maxViewerTaps}}
	s.snapshots.log, s.snapshots.refresh = cfg.Log, refresh
	s.mux.HandleFunc("/api/config", allow(http.MethodGet, s.serveConfig))
	s.mux.HandleFunc("/api/page", allow(http.MethodGet, s.servePage))
	s.mux.HandleFunc("/api/stream", allow(http.MethodGet, s.serveStream))
	s.mux.HandleFunc("/api/", func(w http.ResponseWriter, r *http.Request) {
		writeRefusal(w, http.StatusNotFound, &board.Refusal{Code: board.NotFound, Message: "no such address of the API"})
	})
	s.mux.HandleFunc("/api/tap", allow(http.MethodPost, s.serveTap))
	s.mux.Handle("/", loadApp())
	return s
}

// Token returns the token that opens the session: ?token= of the printed address.
func (s *Server) Token() string { return s.session.token }

// OneTimeToken returns a token that works once. It is for an address that others can see, such as an argument of a
// process.
func (s *Server) OneTimeToken() string { return s.session.oneTime() }

// Run serves until ctx ends, and then waits for running requests for at most drainTimeout. It returns an error if a
// listener fails, and nil after the end of ctx.
func (s *Server) Run(ctx context.Context, listeners ...net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	server := &http.Server{Handler: s, MaxHeaderBytes: maxHeaders, ReadHeaderTimeout: headerTimeout,
		IdleTimeout: idleTimeout, ErrorLog: zap.NewStdLog(s.cfg.Log),
		BaseContext: func(net.Listener) context.Context { return ctx }}
	failed := make(chan error, len(listeners))
	var serving sync.WaitGroup
	for _, l := range listeners {
		serving.Go(func() {
			bounds := connlimit.Bounds{Total: maxConnections, PerAddress: maxConnections}
			if err := server.Serve(connlimit.Bounded(l, bounds, func() {})); !errors.Is(err, http.ErrServerClosed) {
				failed <- fmt.Errorf("serve the dashboard: %w", err)
			}
		})
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	cancel() // ends the streams, which do not end by themselves
	drain, stop := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer stop()
	if server.Shutdown(drain) != nil {
		_ = server.Close() // closes the connections that are left
	}
	serving.Wait()
	s.snapshots.wait()
	return err
}

// allow refuses requests with another method.
func allow(method string, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method != method {
			w.Header().Set("Allow", method)
			writeRefusal(w, http.StatusMethodNotAllowed, &board.Refusal{Code: board.BadRequest, Message: "use " + method})
			return
		}
		next(w, r)
	}
}

func (s *Server) serveConfig(w http.ResponseWriter, r *http.Request) {
	config := s.cfg.AppConfig(r.Context())
	config.Viewer = cmp.Or(viewerOf(r).Name, config.Viewer)
	writeJSON(w, http.StatusOK, config)
}
