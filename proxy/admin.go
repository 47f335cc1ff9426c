package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	connlimit "github.com/tulle-mesh/tulle/internal/connlimit"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/env"
	"github.com/tulle-mesh/tulle/proxy/stats"
)

// admin serves metrics and readiness to everyone, and control to the pod itself.
type admin struct {
	proxy *Proxy
	log   *zap.Logger
	lis   []net.Listener

	refused      atomic.Uint64 // connections that were too many
	shutdown     chan struct{} // closed by a permitted POST /shutdown
	shutdownOnce sync.Once
}

// listen binds the admin port on every address of the pod, for kubelet and Prometheus.
func (a *admin) listen() error {
	p := a.proxy
	if p.cfg.Local != nil {
		if !p.cfg.Local.Admin.IsValid() {
			return nil
		}
		l, err := net.Listen("tcp", p.cfg.Local.Admin.String())
		if err != nil {
			return fmt.Errorf("listen admin: %w", err)
		}
		a.add(l)
		return nil
	}
	l, err := net.Listen("tcp", fmt.Sprintf(":%d", p.cfg.Settings.AdminPort)) // dual stack where the system is
	if err != nil {
		return fmt.Errorf("listen admin: %w", err)
	}
	a.add(l)
	return nil
}

// adminConnections bounds the connections to the admin port, where anybody who reaches the pod may come. One scraper,
// the kubelet's probes and a port-forward need a few.
var adminConnections = connlimit.Bounds{Total: 128, PerAddress: 32, Evict: true}

func (a *admin) add(l net.Listener) {
	a.lis = append(a.lis, connlimit.Bounded(l, adminConnections, func() { a.refused.Add(1) }))
	a.proxy.bound.Admin = env.Unmap(l.Addr().(*net.TCPAddr).AddrPort())
}

// serve answers until ctx ends.
func (a *admin) serve(ctx context.Context) error {
	if len(a.lis) == 0 {
		<-ctx.Done()
		return ctx.Err()
	}
	server := &http.Server{
		Handler: a.handler(), MaxHeaderBytes: 16 << 10, ErrorLog: zap.NewStdLog(a.log),
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		WriteTimeout: time.Minute, IdleTimeout: time.Minute,
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(a.lis[0]); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve admin: %w", err)
	}
	return ctx.Err()
}

func (a *admin) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", a.metrics)
	mux.HandleFunc("GET /live", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "live\n") })
	mux.HandleFunc("GET /ready", a.ready)
	mux.HandleFunc("GET /env.json", localOnly(a.env))
	mux.HandleFunc("GET /proxy-log-level", localOnly(a.getLevel))
	mux.HandleFunc("PUT /proxy-log-level", localOnly(a.setLevel))
	mux.HandleFunc("POST /shutdown", localOnly(a.stop))
	if local := a.proxy.cfg.Local; a.proxy.cfg.Settings.Profiling || local != nil && local.Profiling {
		addProfiling(mux)
	}
	return mux
}

// localOnly lets only the pod's own processes in; the text is Linkerd's. A browser on the machine that runs a
// port-forward is kept out by the Host header: a page that rebinds its own name cannot choose "localhost".
func localOnly(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		from, err := netip.ParseAddrPort(r.RemoteAddr)
		if err != nil || !from.Addr().Unmap().IsLoopback() || !isLoopbackHost(r.Host) {
			http.Error(w, "Requests are only permitted from localhost.", http.StatusForbidden)
			return
		}
		h(w, r)
	}
}

func isLoopbackHost(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && addr.IsLoopback()
}

func (a *admin) metrics(w http.ResponseWriter, r *http.Request) {
	format := stats.Negotiate(r.Header["Accept"])
	w.Header().Set("Content-Type", format.ContentType())
	if err := a.proxy.env.Stats.Write(w, format); err != nil {
		a.log.Debug("scrape cut off", zap.Error(err))
	}
}

func (a *admin) ready(w http.ResponseWriter, _ *http.Request) {
	if waiting := a.proxy.waitingFor(); len(waiting) > 0 {
		a.log.Debug("not ready", zap.Strings("waitingFor", waiting))
		http.Error(w, "not ready", http.StatusServiceUnavailable)
		return
	}
	_, _ = io.WriteString(w, "ready\n")
}

// env shows the environment that configures the proxy; other variables may hold an application's secrets.
func (a *admin) env(w http.ResponseWriter, _ *http.Request) {
	out := map[string]string{}
	for _, name := range []string{
		mesh.ProxyConfigEnv, mesh.PodEnv, mesh.NamespaceEnv, mesh.NodeEnv, mesh.ServiceAccountEnv,
		mesh.PodIPsEnv, mesh.HostIPsEnv,
		"GOMAXPROCS", "GOMEMLIMIT", "GOGC", "GODEBUG",
	} {
		if v, ok := os.LookupEnv(name); ok {
			out[name] = v
		}
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(out); err != nil {
		a.log.Debug("answer cut off", zap.Error(err))
	}
}

func (a *admin) getLevel(w http.ResponseWriter, _ *http.Request) {
	_, _ = fmt.Fprintln(w, a.proxy.cfg.Level.Level())
}

// setLevel takes the name of a level as body.
func (a *admin) setLevel(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64))
	if err == nil {
		err = a.proxy.cfg.Level.UnmarshalText([]byte(strings.TrimSpace(string(body))))
	}
	if err != nil {
		http.Error(w, "want debug, info, warn or error", http.StatusBadRequest)
		return
	}
	a.log.Info("log level changed", zap.Stringer("level", a.proxy.cfg.Level.Level()))
	w.WriteHeader(http.StatusNoContent)
}

func (a *admin) stop(w http.ResponseWriter, _ *http.Request) {
	if !a.proxy.cfg.Settings.AdminShutdown {
		http.Error(w, "shutdown endpoint is not enabled", http.StatusNotFound)
		return
	}
	_, _ = io.WriteString(w, "shutdown\n")
	a.shutdownOnce.Do(func() { close(a.shutdown) })
}
