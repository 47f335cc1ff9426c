// Package daemon runs a control-plane process.
//
// It owns the logger, metrics registry, named readiness, admin HTTP server and signals. It owns nothing of a component:
// a component is a function that Run calls. It must not import any package of Tulle but internal/connlimit.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os/signal"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/tulle-mesh/tulle/internal/connlimit"
)

// Config configures a process.
type Config struct {
	Name      string // name of the component in metrics and logs
	AdminAddr string // host:port of /metrics, /ready, /live and /ping
	LogLevel  string // debug, info, warn or error; "" means info
	LogFormat string // plain or json; "" means plain
}

// Env is what Run passes to a component.
type Env struct {
	Log      *zap.Logger
	Registry *prometheus.Registry
	Ready    *Readiness
}

// Run serves the admin endpoints and calls main with a context that SIGTERM and SIGINT cancel. It returns main's error,
// unless that is the cancelled context. The admin server runs until main has returned, so that readiness and metrics
// stay available while the process drains.
func Run(cfg Config, main func(ctx context.Context, env *Env) error) error {
	log, err := NewLogger(cfg.LogLevel, cfg.LogFormat)
	if err != nil {
		return err
	}
	defer func() { _ = log.Sync() }()
	env := &Env{Log: log.Named(cfg.Name), Registry: prometheus.NewRegistry(), Ready: &Readiness{}}
	env.Registry.MustRegister(collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	lis, err := net.Listen("tcp", cfg.AdminAddr)
	if err != nil {
		return fmt.Errorf("listen for admin requests: %w", err)
	}
	lis = boundedAdmin(lis, env.Registry)
	admin := &http.Server{
		Handler: adminHandler(env), MaxHeaderBytes: 16 << 10,
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: time.Minute,
		IdleTimeout: time.Minute,
	}

	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		if err := admin.Serve(lis); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve admin requests: %w", err)
		}
		return nil
	})
	group.Go(func() error {
		defer func() { _ = admin.Close() }()
		env.Log.Info("started", zap.String("admin", lis.Addr().String()))
		err := main(ctx, env)
		if errors.Is(err, context.Canceled) {
			err = nil
		}
		env.Log.Info("stopped", zap.Error(err))
		return err
	})
	return group.Wait()
}

// adminConnections bounds the connections to the admin endpoints: any pod may connect.
var adminConnections = connlimit.Bounds{Total: 512, PerAddress: 64, Evict: true}

func boundedAdmin(lis net.Listener, reg prometheus.Registerer) net.Listener {
	refused := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "tulle_admin_connections_refused_total",
		Help: "Connections to the admin endpoints that were closed because there were too many, from one address or in " +
			"total.",
	})
	reg.MustRegister(refused)
	return connlimit.Bounded(lis, adminConnections, refused.Inc)
}

func adminHandler(env *Env) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(env.Registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /live", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "live") })
	mux.HandleFunc("GET /ping", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "pong") })
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, _ *http.Request) {
		if waiting := env.Ready.Waiting(); len(waiting) > 0 {
			http.Error(w, fmt.Sprintf("not ready: waiting for %v", waiting), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ready")
	})
	return mux
}
