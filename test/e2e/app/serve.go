package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/interop"
	testpb "google.golang.org/grpc/interop/grpc_testing"
)

// Ports of the server.
const (
	portHTTP   = ":8080" // HTTP/1 and HTTP/2 with prior knowledge
	portTLS    = ":8443" // the application's own TLS
	portGRPC   = ":9090"
	portTCP    = ":7000" // reads to the end, then answers: half-close
	portBanner = ":7001" // speaks first, then echoes
	portOpaque = ":6379" // echoes; in the default opaque ports
)

// seen is what the server saw of a request.
type seen struct {
	Pod    string      `json:"pod"`
	Method string      `json:"method"`
	URI    string      `json:"uri"`
	Proto  string      `json:"proto"`
	Host   string      `json:"host"`
	Header http.Header `json:"header"`
	Bytes  int64       `json:"bytes"`
	SHA256 string      `json:"sha256"`
}

func serve(args []string) error {
	fs := flags("serve")
	failEvery := fs.Int64("fail-every", 0, "answer every n-th request of /flaky with 500; 0 means none")
	next := fs.String("next", "", "the URL that /work passes requests on to")
	grace := fs.Duration("grace", 5*time.Second, "how long to finish requests on SIGTERM")
	cells := fs.Int("cells", 0, "open this many cells of ports")
	_ = fs.Parse(args)

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	group, ctx := errgroup.WithContext(ctx)
	handler := newHandler(*failEvery, newWorker(*next))
	group.Go(func() error { return serveHTTP(ctx, portHTTP, handler, nil, *grace) })
	group.Go(func() error { return serveHTTP(ctx, portTLS, handler, selfSigned(), *grace) })
	group.Go(func() error { return serveGRPC(ctx) })
	group.Go(func() error { return serveTCP(ctx, portTCP, answerAtEnd) })
	group.Go(func() error { return serveTCP(ctx, portBanner, bannerThenEcho) })
	group.Go(func() error { return serveTCP(ctx, portOpaque, echo) })
	serveCells(ctx, group, *cells, handler)
	return group.Wait()
}

func newHandler(failEvery int64, w *worker) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/", answerSeen)
	mux.HandleFunc("/bytes", answerBytes)
	mux.HandleFunc("/trailers", answerTrailers)
	mux.HandleFunc("/status", answerStatus)
	mux.HandleFunc("/slow", answerSlowly)
	mux.HandleFunc("/drops", answerDrops)
	mux.HandleFunc("/ws", answerWebSocket)
	w.register(mux)
	var n atomic.Int64
	mux.HandleFunc("/flaky", func(w http.ResponseWriter, _ *http.Request) {
		if failEvery > 0 && n.Add(1)%failEvery == 0 {
			http.Error(w, "injected failure", http.StatusInternalServerError)
		}
	})
	pod := os.Getenv("HOSTNAME")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Pod", pod)
		mux.ServeHTTP(w, r)
	})
}

// answerSeen reads the body and tells what arrived.
func answerSeen(w http.ResponseWriter, r *http.Request) {
	sum := sha256.New()
	n, err := io.Copy(sum, r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(seen{
		Pod: os.Getenv("HOSTNAME"), Method: r.Method, URI: r.RequestURI, Proto: r.Proto, Host: r.Host,
		Header: r.Header, Bytes: n, SHA256: hex.EncodeToString(sum.Sum(nil)),
	})
}

// answerBytes streams ?n= zero bytes.
func answerBytes(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.ParseInt(r.FormValue("n"), 10, 64)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	_, _ = io.Copy(w, io.LimitReader(zeros{}, n))
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func answerTrailers(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	w.Header().Set("Trailer", "X-Checksum")
	_, _ = fmt.Fprintf(w, "request trailer: %s", r.Trailer.Get("X-Request-Checksum"))
	w.Header().Set("X-Checksum", "abc123")
}

func answerStatus(w http.ResponseWriter, r *http.Request) {
	code, err := strconv.Atoi(r.FormValue("code"))
	if err != nil {
		code = http.StatusBadRequest
	}
	w.WriteHeader(code)
}

func answerSlowly(w http.ResponseWriter, r *http.Request) {
	d, _ := time.ParseDuration(r.FormValue("for"))
	select {
	case <-time.After(d):
	case <-r.Context().Done():
	}
	_, _ = fmt.Fprintln(w, "done")
}

func answerWebSocket(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer func() { _ = conn.CloseNow() }()
	for {
		kind, message, err := conn.Read(r.Context())
		if err != nil || conn.Write(r.Context(), kind, message) != nil {
			return
		}
	}
}

func serveHTTP(ctx context.Context, addr string, handler http.Handler, cert *tls.Certificate,
	grace time.Duration) error {
	srv := &http.Server{Addr: addr, Handler: handler, ReadHeaderTimeout: 10 * time.Second, Protocols: new(http.Protocols)}
	srv.Protocols.SetHTTP1(true)
	srv.Protocols.SetUnencryptedHTTP2(cert == nil)
	lis, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	if cert != nil {
		lis = tls.NewListener(lis, &tls.Config{Certificates: []tls.Certificate{*cert}, MinVersion: tls.VersionTLS12})
	}
	go func() {
		<-ctx.Done()
		stop, cancel := context.WithTimeout(context.Background(), grace)
		defer cancel()
		_ = srv.Shutdown(stop)
	}()
	if err := srv.Serve(lis); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func serveGRPC(ctx context.Context) error {
	lis, err := net.Listen("tcp", portGRPC)
	if err != nil {
		return err
	}
	srv := grpc.NewServer()
	testpb.RegisterTestServiceServer(srv, interop.NewTestServer())
	go func() {
		<-ctx.Done()
		srv.GracefulStop()
	}()
	return srv.Serve(lis)
}

func serveTCP(ctx context.Context, addr string, handle func(*net.TCPConn)) error {
	lis, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	go func() {
		<-ctx.Done()
		_ = lis.Close()
	}()
	for {
		conn, err := lis.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		go func() {
			defer func() { _ = conn.Close() }()
			handle(conn.(*net.TCPConn))
		}()
	}
}

// answerAtEnd reads until the client closes its half, then answers with the count and closes.
func answerAtEnd(conn *net.TCPConn) {
	n, err := io.Copy(io.Discard, conn)
	_, _ = fmt.Fprintf(conn, "%d bytes, error %v\n", n, err)
}

func bannerThenEcho(conn *net.TCPConn) {
	_, _ = io.WriteString(conn, "220 ready\r\n")
	echo(conn)
}

func echo(conn *net.TCPConn) { _, _ = io.Copy(conn, conn) }

// selfSigned makes the application's own certificate, which the mesh must not touch.
func selfSigned() *tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "app-own-tls"}, DNSNames: []string{"app-own-tls"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
