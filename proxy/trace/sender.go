package trace

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"

	"github.com/tulle-mesh/tulle/mesh"
)

// sender carries an ExportTraceServiceRequest to a collector and returns the response. A refusedError says that the
// same request will never succeed. The request's bytes must not be changed afterwards.
type sender interface {
	send(ctx context.Context, request []byte) (response []byte, err error)
	close()
}

// newSender returns what speaks the collector's protocol, over mesh TLS unless config is nil.
func newSender(c mesh.Collector, config *tls.Config) sender {
	if c.HTTP {
		return newHTTPSender(c, config)
	}
	return newGRPCSender(c, config)
}

// refusedError is a collector's answer that it does not take a request.
type refusedError struct{ err error }

func (e *refusedError) Error() string { return e.err.Error() }
func (e *refusedError) Unwrap() error { return e.err }

const (
	dialTimeout      = 5 * time.Second
	maxResponseBytes = 64 << 10
)

// dialer returns how connections to the collector are made: in plaintext, or over mesh TLS as bytes of an opaque
// connection, which the collector's proxy passes on or parses as its policy needs.
func dialer(config *tls.Config) func(context.Context, string) (net.Conn, error) {
	return func(ctx context.Context, addr string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, dialTimeout)
		defer cancel()
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
		if err != nil || config == nil {
			return conn, err
		}
		secured := tls.Client(conn, config)
		if err := secured.HandshakeContext(ctx); err != nil {
			_ = conn.Close()
			return nil, err
		}
		return secured, nil
	}
}

// grpcSender speaks OTLP/gRPC.
type grpcSender struct {
	conn *grpc.ClientConn
	err  error // of making conn
}

func newGRPCSender(c mesh.Collector, config *tls.Config) *grpcSender {
	connect := backoff.DefaultConfig
	connect.MaxDelay = maxBackoff
	conn, err := grpc.NewClient("passthrough:///"+c.Addr,
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithContextDialer(dialer(config)),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: connect, MinConnectTimeout: dialTimeout}),
		grpc.WithReadBufferSize(4<<10), grpc.WithWriteBufferSize(4<<10), grpc.WithMaxHeaderListSize(16<<10),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxResponseBytes), grpc.ForceCodecV2(rawCodec{})),
		grpc.WithNoProxy(), grpc.WithDisableServiceConfig(), grpc.WithDisableRetry(),
	)
	return &grpcSender{conn: conn, err: err}
}

func (s *grpcSender) send(ctx context.Context, request []byte) ([]byte, error) {
	if s.err != nil {
		return nil, s.err
	}
	var response []byte
	err := s.conn.Invoke(ctx, "/opentelemetry.proto.collector.trace.v1.TraceService/Export", &request, &response)
	if err != nil && !retryable(status.Code(err)) {
		return nil, &refusedError{err}
	}
	return response, err
}

// retryable reports whether an export may succeed later. Source: OTLP, "OTLP/gRPC Response: Failures". A collector
// that is out of resources is tried again too: the wait grows.
func retryable(c codes.Code) bool {
	switch c {
	case codes.Canceled, codes.DeadlineExceeded, codes.Aborted, codes.OutOfRange, codes.Unavailable, codes.DataLoss,
		codes.ResourceExhausted:
		return true
	}
	return false
}

func (s *grpcSender) close() {
	if s.conn != nil {
		_ = s.conn.Close()
	}
}

// rawCodec passes messages that are encoded already.
type rawCodec struct{}

// Marshal implements encoding.CodecV2. grpc may still write the message after the call has ended, so nobody may change
// its bytes.
func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(*v.(*[]byte))}, nil
}

// Unmarshal implements encoding.CodecV2.
func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}

// Name implements encoding.CodecV2; it ends up in content-type.
func (rawCodec) Name() string { return "proto" }

// httpSender speaks OTLP/HTTP with protobuf.
type httpSender struct {
	url    string
	client *http.Client
}

func newHTTPSender(c mesh.Collector, config *tls.Config) *httpSender {
	dial := dialer(config)
	return &httpSender{url: "http://" + c.Addr + c.Path, client: &http.Client{
		Transport: &http.Transport{
			DialContext:         func(ctx context.Context, _, addr string) (net.Conn, error) { return dial(ctx, addr) },
			MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute, MaxResponseHeaderBytes: 16 << 10,
			ReadBufferSize: 4 << 10, WriteBufferSize: 4 << 10, DisableCompression: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (s *httpSender) send(ctx context.Context, request []byte) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(request))
	if err != nil {
		return nil, &refusedError{err}
	}
	r.Header.Set("Content-Type", "application/x-protobuf")
	r.Header.Set("User-Agent", "tulle-proxy")
	response, err := s.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxResponseBytes))
	switch code := response.StatusCode; {
	case code/100 == 2:
		return body, err
	case code == 429, code == 502, code == 503, code == 504: // OTLP, "OTLP/HTTP Response: Retryable Response Codes"
		return nil, fmt.Errorf("export spans: collector answered %s", response.Status)
	default:
		return nil, &refusedError{fmt.Errorf("export spans: collector answered %s", response.Status)}
	}
}

func (s *httpSender) close() { s.client.CloseIdleConnections() }
