package forward

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/sock"
)

// fixed is a Handler that gives everything to one upstream and answers faults with a status of its own.
type fixed struct {
	to      atomic.Pointer[Upstream]
	onFault func(x *exchange.Exchange, f exchange.Fault) Action
	ends    atomic.Int64
	stalled atomic.Int64 // of those that ended
	route   func(x *exchange.Exchange)
	// response, when set, judges every response.
	response func(x *exchange.Exchange) exchange.Fault
	// answer, when set, answers every request.
	reply func(x *exchange.Exchange) Action
}

func (h *fixed) Route(x *exchange.Exchange) Action {
	if h.route != nil {
		h.route(x)
	}
	if h.reply != nil {
		return h.reply(x)
	}
	if u := h.to.Load(); u != nil {
		return Forward(u)
	}
	return WaitForEndpoint()
}

func (h *fixed) OnFault(x *exchange.Exchange, f exchange.Fault) Action {
	if h.onFault != nil {
		return h.onFault(x, f)
	}
	x.Response.Status = map[exchange.Kind]int{
		exchange.Malformed: 400, exchange.HeadTooLarge: 431, exchange.HeadTimeout: 408, exchange.Unsupported: 501,
		exchange.NoEndpoint: 504,
		exchange.Overloaded: 503, exchange.Timeout: 504,
	}[f.Kind]
	if x.Response.Status == 0 {
		x.Response.Status = 502
	}
	x.Response.Set("x-fault", f.Kind.String()+"/"+f.Reason)
	return Reply([]byte(f.Kind.String()))
}

func (h *fixed) Response(x *exchange.Exchange) exchange.Fault {
	if h.response != nil {
		return h.response(x)
	}
	return exchange.Fault{}
}

func (h *fixed) End(x *exchange.Exchange) {
	h.ends.Add(1)
	if x.Fault.Reason == "stalled" {
		h.stalled.Add(1)
	}
}

// proxy is a running engine that serves one listener.
type proxy struct {
	e    *Engine
	h    *fixed
	addr string
	// skipped is by how much the engine's clock is ahead; guarded by the lock.
	skipped time.Duration
}

// onFault and onRoute replace what the handler does, between two of its calls.
func (p *proxy) onFault(f func(x *exchange.Exchange, f exchange.Fault) Action) {
	p.e.mu.Lock()
	defer p.e.mu.Unlock()
	p.h.onFault = f
}

func (p *proxy) onResponse(f func(x *exchange.Exchange) exchange.Fault) {
	p.e.mu.Lock()
	defer p.e.mu.Unlock()
	p.h.response = f
}

func (p *proxy) onRoute(f func(x *exchange.Exchange)) {
	p.e.mu.Lock()
	defer p.e.mu.Unlock()
	p.h.route = f
}

// start runs an engine that serves what l accepts. accept prepares a connection (TLS).
func start(t testing.TB, p Protocol, cfg Config, h *fixed, accept func(net.Conn) (net.Conn, error)) *proxy {
	t.Helper()
	e := New(cfg, h)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = e.Run(ctx) })
	l := listen(t)
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				if accept != nil {
					if c, err = accept(c); err != nil {
						return
					}
				}
				_ = e.Serve(ctx, c, p, &exchange.Conn{})
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		cancel()
		done := make(chan struct{})
		go func() { wg.Wait(); close(done) }()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			t.Error("the engine does not stop")
		}
	})
	return &proxy{e: e, h: h, addr: l.Addr().String()}
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func dialTo(addr string) func(context.Context) (net.Conn, error) {
	return func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", addr)
	}
}

// pairs are the ways through the engine: from a protocol of the client, perhaps over a second proxy, to the
// application.
var pairs = []struct {
	name   string
	http2  bool
	meshed bool
}{
	{"h1", false, false},
	{"h1-mux-h1", false, true},
	{"h2", true, false},
	{"h2-mux-h2", true, true},
}

// route is a running way to an application.
type route struct {
	first, last *proxy // the same without mesh
	client      *http.Client
	url         string
	app         string
}

// build makes a way to the application at addr.
func build(t testing.TB, http2, meshed bool, app string, cfg Config) *route {
	t.Helper()
	p := HTTP1
	if http2 {
		p = HTTP2
	}
	last := &fixed{}
	first := last
	var in, out *proxy
	if meshed {
		srv, cli := tlsConfigs(t)
		in = start(t, Mux, cfg, last, func(c net.Conn) (net.Conn, error) {
			return sock.Server(context.Background(), sock.New(c, nil), srv)
		})
		first = &fixed{}
		out = start(t, p, cfg, first, nil)
		first.to.Store(
			out.e.NewUpstream(UpstreamConfig{Protocol: Mux, Dial: func(ctx context.Context) (net.Conn, error) {
				c, err := dialTo(in.addr)(ctx)
				if err != nil {
					return nil, err
				}
				return sock.Client(ctx, sock.New(c, nil), cli)
			}}),
		)
	} else {
		in = start(t, p, cfg, last, nil)
		out = in
	}
	last.to.Store(in.e.NewUpstream(UpstreamConfig{Protocol: p, Dial: dialTo(app)}))
	tr := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 100}
	tr.Protocols = new(http.Protocols)
	tr.Protocols.SetHTTP1(!http2)
	tr.Protocols.SetUnencryptedHTTP2(http2)
	t.Cleanup(tr.CloseIdleConnections)
	return &route{first: out, last: in, client: &http.Client{Transport: tr}, url: "http://" + out.addr, app: app}
}

// serveApp runs an application that speaks HTTP/1 and HTTP/2 without TLS.
func serveApp(t testing.TB, h http.Handler) (addr string) {
	t.Helper()
	l := listen(t)
	s := &http.Server{Handler: h, Protocols: new(http.Protocols)}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		_ = s.Close()
		wg.Wait()
	})
	return l.Addr().String()
}

// readBody reads a response to its end.
func readBody(t testing.TB, r *http.Response, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatalf("read body after %d bytes: %v", len(b), err)
	}
	return string(b)
}

func tlsConfigs(t testing.TB) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotAfter:     time.Now().Add(time.Hour),
		DNSNames:     []string{"peer"},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	certs := []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}
	return &tls.Config{
			MinVersion: tls.VersionTLS13, Certificates: certs, SessionTicketsDisabled: true, DynamicRecordSizingDisabled: true,
			ClientCAs: roots, ClientAuth: tls.RequireAnyClientCert,
		}, &tls.Config{
			MinVersion: tls.VersionTLS13, Certificates: certs, RootCAs: roots, ServerName: "peer",
			DynamicRecordSizingDisabled: true,
		}
}
