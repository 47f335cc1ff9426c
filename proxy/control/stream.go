package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"

	"github.com/tulle-mesh/tulle/api"
	"github.com/tulle-mesh/tulle/api/pb"
	"github.com/tulle-mesh/tulle/mesh"
)

const (
	// maxValueBytes bounds a value. It is enough for about a hundred thousand endpoints.
	maxValueBytes = 32 << 20
	// answerTimeout bounds the wait for a stream's first value. That is the pod's own policy, which the controller
	// always has.
	answerTimeout = 10 * time.Second
	// connectTimeout bounds one attempt to connect. If a controller moves to another address of its Service, a
	// handshake may get no response. grpc would wait for it for 20 s.
	connectTimeout = 5 * time.Second
)

// stream sends all watches on a new connection and stores values until the connection ends. answered reports whether a
// value arrived.
func (c *Client) stream(ctx context.Context) (answered bool, err error) {
	conn, err := grpc.NewClient("passthrough:///"+c.cfg.Addr,
		grpc.WithTransportCredentials(credentials.NewTLS(c.cfg.TLS)),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: connectTimeout}),
		// The proxy's only stream is idle most of the time, so buffers are small. grpc shares the write buffer.
		grpc.WithReadBufferSize(4<<10), grpc.WithWriteBufferSize(4<<10),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxValueBytes), grpc.ForceCodecV2(newCodec())),
		grpc.WithMaxHeaderListSize(16<<10),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 20 * time.Second, Timeout: 10 * time.Second}),
		grpc.WithNoProxy(), grpc.WithDisableServiceConfig(), grpc.WithDisableRetry(), grpc.WithIdleTimeout(0),
	)
	if err != nil {
		return false, fmt.Errorf("connect to %s: %w", c.cfg.Addr, err)
	}
	defer func() { _ = conn.Close() }()

	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // where Subscribe fails, nothing else ends the group's context
	group, ctx := errgroup.WithContext(ctx)
	begun := time.Now()
	rpc, err := pb.NewDiscoveryClient(conn).Subscribe(ctx)
	if err != nil {
		c.cfg.Asked()
		c.cfg.Answered(time.Since(begun), codeOf(err))
		return false, fmt.Errorf("subscribe: %w", err)
	}
	c.queueAll()
	defer c.dropQueue()
	first := make(chan struct{})
	group.Go(func() error { return c.send(ctx, rpc) })
	group.Go(func() error {
		err := c.receive(rpc, &answered, first)
		if errors.Is(err, io.EOF) {
			err = errors.New("stream ended by the controller")
		}
		return err
	})
	group.Go(func() error { return awaitFirst(ctx, first) })
	err = group.Wait()
	c.abandon(err)
	return answered, err
}

// awaitFirst ends a stream on which no first value arrives in time.
func awaitFirst(ctx context.Context, first <-chan struct{}) error {
	timer := time.NewTimer(answerTimeout)
	defer timer.Stop()
	select {
	case <-first:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return fmt.Errorf("no value within %v: %w", answerTimeout, context.DeadlineExceeded)
	}
}

func (c *Client) send(ctx context.Context, rpc pb.Discovery_SubscribeClient) error {
	for {
		select {
		case <-c.wake:
		case <-ctx.Done():
			return ctx.Err()
		}
		for _, r := range c.take() {
			c.observe(r)
			if err := rpc.Send(r); err != nil {
				if errors.Is(err, io.EOF) {
					return nil // receive returns the reason
				}
				return fmt.Errorf("send: %w", err)
			}
		}
	}
}

func (c *Client) receive(rpc pb.Discovery_SubscribeClient, answered *bool, first chan<- struct{}) error {
	for {
		r, err := rpc.Recv()
		if err != nil {
			return err
		}
		if !*answered {
			*answered = true
			close(first)
			c.connected.Store(true)
			c.cfg.Log.Info("destination controller connected", zap.String("addr", c.cfg.Addr))
		}
		err = c.storeValue(r)
		c.end(r.GetId(), codeOf(err))
	}
}

// storeValue stores a value in its cell. If the value cannot be decoded, the last valid value stays.
func (c *Client) storeValue(r *pb.SubscribeResponse) error {
	if r.GetId() == inboundID {
		value, err := api.DecodeInbound(r.GetInbound())
		if err != nil {
			c.reject("inbound policy", err)
			return err
		}
		c.counts.received.Add(1)
		c.inbound.Store(value)
		return nil
	}
	c.mu.Lock()
	w := c.watches[r.GetId()]
	c.mu.Unlock()
	if w == nil {
		return nil // Unwatch was called before the value arrived
	}
	value, err := api.DecodeOutbound(r.GetOutbound(), letRequestsRun)
	if err != nil {
		if w.rejected != err.Error() {
			w.rejected = err.Error()
			c.reject(w.target.Addr.String(), err)
			return err
		}
		c.counts.rejected.Add(1)
		return err
	}
	w.rejected = ""
	c.counts.received.Add(1)
	w.cell.Store(value)
	c.cfg.Changed(w.target)
	return nil
}

func (c *Client) reject(what string, err error) {
	c.counts.rejected.Add(1)
	c.cfg.Log.Error("rejected discovery value, keeping the last valid one", zap.String("of", what), zap.Error(err))
}

func (c *Client) hello() *pb.SubscribeRequest {
	return &pb.SubscribeRequest{Message: &pb.SubscribeRequest_Hello{Hello: &pb.Hello{
		Namespace: c.cfg.Namespace, Pod: c.cfg.Pod, Node: c.cfg.Node, Version: c.cfg.Version,
	}}}
}

func watchRequest(id uint64, t mesh.Target) *pb.SubscribeRequest {
	return &pb.SubscribeRequest{Message: &pb.SubscribeRequest_Watch{
		Watch: &pb.Watch{Id: id, Outbound: api.EncodeTarget(t)}}}
}
