package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
)

// Ports of the origin server, beside portHTTP, portTLS and portGRPC.
const (
	portResets = ":9091" // resets each HTTP/2 stream with the code that ends its path
	portEarly  = ":7413" // answers 413 before the body
)

// streamLimits are the limits of concurrent streams that the origin has servers for: HTTP/2 at 8200 and gRPC at 8400
// plus the limit.
var streamLimits = []uint32{1, 2, 100}

// originCommand is the server for real clients: default servers of their libraries, and servers that refuse, reset and
// answer early.
func originCommand(args []string) error {
	_ = flags("origin").Parse(args)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	group, ctx := errgroup.WithContext(ctx)
	mux := http.NewServeMux()
	mux.HandleFunc("/", answerSeen)
	mux.HandleFunc("/status", answerStatus)
	group.Go(func() error { return serveHTTP(ctx, portHTTP, mux, nil, 0) })
	group.Go(func() error { return serveHTTP(ctx, portTLS, mux, selfSigned(), 0) })
	group.Go(func() error { return serveCalls(ctx, portGRPC) })
	for _, n := range streamLimits {
		group.Go(func() error { return serveLimited(ctx, ":"+strconv.Itoa(8200+int(n)), int(n)) })
		group.Go(func() error { return serveCalls(ctx, ":"+strconv.Itoa(8400+int(n)), grpc.MaxConcurrentStreams(n)) })
	}
	group.Go(func() error { return serveTCP(ctx, portResets, resetStreams) })
	group.Go(func() error { return serveTCP(ctx, portEarly, answerEarly) })
	return group.Wait()
}

// serveCalls serves the Calls service as grpc-go does without options.
func serveCalls(ctx context.Context, addr string, options ...grpc.ServerOption) error {
	lis, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	srv := grpc.NewServer(options...)
	srv.RegisterService(&callsService, nil)
	go func() {
		<-ctx.Done()
		srv.Stop()
	}()
	return srv.Serve(lis)
}

// serveLimited answers HTTP/2 requests after a moment, so that streams meet the limit.
func serveLimited(ctx context.Context, addr string, limit int) error {
	lis, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	handler := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_ = pass(r.Context(), time.Millisecond)
	})
	srv := &http.Server{
		Handler: handler, ReadHeaderTimeout: 10 * time.Second, Protocols: new(http.Protocols),
		HTTP2: &http.HTTP2Config{MaxConcurrentStreams: limit},
	}
	srv.Protocols.SetUnencryptedHTTP2(true)
	go func() {
		<-ctx.Done()
		_ = srv.Close()
	}()
	if err := srv.Serve(lis); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// resetStreams ends each stream with the error code of its path's last segment, before any response head.
func resetStreams(conn *net.TCPConn) {
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(conn, preface); err != nil {
		return
	}
	framer := http2.NewFramer(conn, conn)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if err := framer.WriteSettings(); err != nil {
		return
	}
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return
		}
		switch f := frame.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				err = framer.WriteSettingsAck()
			}
		case *http2.PingFrame:
			if !f.IsAck() {
				err = framer.WritePing(true, f.Data)
			}
		case *http2.MetaHeadersFrame:
			path := f.PseudoValue("path")
			code, _ := strconv.Atoi(path[strings.LastIndex(path, "/")+1:])
			err = framer.WriteRSTStream(f.StreamID, http2.ErrCode(code))
		}
		if err != nil {
			return
		}
	}
}
