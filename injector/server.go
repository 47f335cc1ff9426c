package injector

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/cache"

	"github.com/tulle-mesh/tulle/injector/inject"
	"github.com/tulle-mesh/tulle/internal/connlimit"
)

// Config is what a Server needs. Every field but ConfigFile, Linger and Readiness is required.
type Config struct {
	Listener  net.Listener // where the API server calls; Run closes it
	Namespace string       // the control plane's
	// ConfigFile has inject.Values as YAML and is read again when it changes; "" means the defaults.
	ConfigFile string
	// Linger is how long reviews are still accepted after Run's context ended: until every API server knows that this
	// replica is going.
	Linger    time.Duration
	Client    kubernetes.Interface
	Metadata  metadata.Interface
	Dynamic   dynamic.Interface
	Log       *zap.Logger
	Registry  prometheus.Registerer
	Readiness Readiness
}

// Readiness registers tasks that must be done before the process counts as ready.
type Readiness interface {
	Task(name string) (done func())
}

// Server is the webhook with its loops.
type Server struct {
	cfg        Config
	values     atomic.Pointer[inject.Values]
	raw        []byte // what values were read from; used by New and then by follow alone
	metrics    *metrics
	namespaces *namespaceIndex
	recorder   *recorder
	upkeep     *upkeep
	handler    *handler

	synced, announced func() // readiness
}

// Times of the server.
const (
	followEvery   = 10 * time.Second
	shutdownGrace = 10 * time.Second
)

// connections bounds connections: an API server multiplexes reviews over a few of them.
var connections = connlimit.Bounds{Total: 512, PerAddress: 64, Evict: true}

// New returns a Server. An unreadable ConfigFile is an error; once the server runs, a bad change of it is not.
func New(cfg Config) (*Server, error) {
	s := &Server{cfg: cfg, metrics: newMetrics(cfg.Registry)}
	if err := s.readValues(); err != nil {
		return nil, err
	}
	values := func() inject.Values { return *s.values.Load() }
	s.recorder = newRecorder(cfg.Client, s.metrics, cfg.Log)
	s.upkeep = newUpkeep(cfg, values, s.metrics, time.Now)
	var err error
	if s.namespaces, err = newNamespaceIndex(cfg.Metadata, s.upkeep.Poke); err != nil {
		return nil, fmt.Errorf("follow namespaces: %w", err)
	}
	s.upkeep.optedIn = func() ([]string, types.UID) { return s.namespaces.optedIn(cfg.Namespace) }
	s.handler = newHandler(&reviewer{
		controlPlaneNamespace: cfg.Namespace, values: values, namespaces: s.namespaces,
		tap:    &apiServiceOffers{client: cfg.Dynamic, log: cfg.Log},
		owners: newOwnerLookup(cfg.Metadata, cfg.Log),
		events: s.recorder, metrics: s.metrics, log: cfg.Log,
	})
	s.synced, s.announced = func() {}, func() {}
	if cfg.Readiness != nil {
		s.synced, s.announced = cfg.Readiness.Task("namespaces"), cfg.Readiness.Task("certificate and webhook configuration")
	}
	return s, nil
}

// Run serves until ctx ends and for Linger after it, then lets the reviews in progress end.
func (s *Server) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { s.namespaces.informer.Run(ctx.Done()); return ctx.Err() })
	group.Go(func() error {
		if !cache.WaitForCacheSync(ctx.Done(), s.namespaces.informer.HasSynced) {
			return ctx.Err()
		}
		s.synced()
		return s.upkeep.Run(ctx, s.announced) // only now are the namespaces that opted in known
	})
	group.Go(func() error { return s.upkeep.watch(ctx, s.cfg.Metadata) })
	group.Go(func() error { return s.recorder.run(ctx) })
	group.Go(func() error { return s.follow(ctx) })
	s.serve(ctx, group)
	return group.Wait()
}

func (s *Server) serve(ctx context.Context, group *errgroup.Group) {
	server := &http.Server{
		Handler: s.handler,
		// The only client is the API server, and it speaks whatever is newest.
		TLSConfig:         &tls.Config{MinVersion: tls.VersionTLS13, GetCertificate: s.upkeep.Certificate},
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          zap.NewStdLog(s.cfg.Log.Named("http")),
	}
	group.Go(func() error {
		bounded := connlimit.Bounded(s.cfg.Listener, connections, s.metrics.errors.WithLabelValues(errConnections).Inc)
		if err := server.ServeTLS(bounded, "", ""); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve reviews: %w", err)
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		s.cfg.Log.Info("leaving", zap.Duration("linger", s.cfg.Linger))
		time.Sleep(s.cfg.Linger)
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
		defer cancel()
		if err := server.Shutdown(grace); err != nil {
			_ = server.Close()
			return fmt.Errorf("shut down: %w", err)
		}
		return ctx.Err()
	})
}

// follow reads the configuration file periodically: a mounted ConfigMap changes in place. After a bad file, the last
// valid values stay active.
func (s *Server) follow(ctx context.Context) error {
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		if err := s.readValues(); err != nil {
			s.metrics.failures.WithLabelValues("read_configuration").Inc()
			s.cfg.Log.Error("configuration not taken over", zap.Error(err))
		}
	}
}

// readValues replaces the values if the file has other bytes than before.
func (s *Server) readValues() error {
	if s.cfg.ConfigFile == "" {
		v := inject.Defaults()
		s.values.CompareAndSwap(nil, &v)
		return nil
	}
	raw, err := os.ReadFile(s.cfg.ConfigFile)
	if err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	if s.values.Load() != nil && bytes.Equal(raw, s.raw) {
		return nil
	}
	v, err := inject.ParseValues(raw)
	if err != nil {
		return fmt.Errorf("read configuration %s: %w", s.cfg.ConfigFile, err)
	}
	first := s.values.Swap(&v) == nil
	s.raw = raw
	if !first {
		s.cfg.Log.Info("configuration taken over")
		s.upkeep.Poke()
	}
	return nil
}
