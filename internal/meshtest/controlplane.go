package meshtest

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/tulle-mesh/tulle/api"
	"github.com/tulle-mesh/tulle/api/pb"
	"github.com/tulle-mesh/tulle/internal/latest"
	"github.com/tulle-mesh/tulle/mesh"
)

// DestinationID is the identity of a ControlPlane.
var DestinationID = mesh.ID{
	TrustDomain: mesh.DefaultTrustDomain, Namespace: mesh.ControlPlaneNamespace, ServiceAccount: mesh.DestinationName,
}

// ControlPlane is a destination controller that sends the values that the test sets, over real gRPC and real mutual
// TLS. Its methods may be called by several goroutines.
type ControlPlane struct {
	pb.UnimplementedDiscoveryServer

	tb   testing.TB
	tls  *tls.Config
	addr string

	mu       sync.Mutex // guards the fields below
	server   *grpc.Server
	served   chan struct{}
	outbound map[mesh.Target]*latest.Cell[*pb.Outbound]
	inbound  latest.Cell[*pb.Inbound]
	watching map[mesh.Target]int
	changed  chan struct{} // closed when watching changes
}

// NewControlPlane starts a control plane on loopback that runs until the test ends.
func NewControlPlane(tb testing.TB, ca *CA) *ControlPlane {
	tb.Helper()
	c := &ControlPlane{
		tb: tb, tls: ca.Certs(DestinationID).ServerTLS("h2"), addr: "127.0.0.1:0",
		outbound: map[mesh.Target]*latest.Cell[*pb.Outbound]{}, watching: map[mesh.Target]int{}, changed: make(chan struct{}),
	}
	c.Start()
	tb.Cleanup(c.Stop)
	return c
}

// Addr returns its address, even while it is stopped.
func (c *ControlPlane) Addr() string { return c.addr }

// Start serves again after Stop, at the same address.
func (c *ControlPlane) Start() {
	c.tb.Helper()
	l, err := net.Listen("tcp", c.addr)
	if err != nil {
		c.tb.Fatal(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.addr = l.Addr().String()
	server, served := grpc.NewServer(grpc.Creds(credentials.NewTLS(c.tls))), make(chan struct{})
	c.server, c.served = server, served
	pb.RegisterDiscoveryServer(server, c)
	go func() {
		defer close(served)
		if err := server.Serve(l); err != nil {
			c.tb.Errorf("serve discovery: %v", err)
		}
	}()
}

// Stop ends all streams and refuses new ones. Values stay set. Another Stop has no effect.
func (c *ControlPlane) Stop() {
	c.mu.Lock()
	server, served := c.server, c.served
	c.server = nil
	c.mu.Unlock()
	if server != nil {
		server.Stop()
		<-served
	}
}

// SetInbound sets the inbound policy of all proxies.
func (c *ControlPlane) SetInbound(in *mesh.Inbound) { c.inbound.Store(api.EncodeInbound(in)) }

// SetOutbound sets the value of a target.
func (c *ControlPlane) SetOutbound(t mesh.Target, o *mesh.Outbound) {
	c.SetOutboundRaw(t, api.EncodeOutbound(o))
}

// SetOutboundRaw sets a value that may be invalid.
func (c *ControlPlane) SetOutboundRaw(t mesh.Target, o *pb.Outbound) { c.cell(t).Store(o) }

func (c *ControlPlane) cell(t mesh.Target) *latest.Cell[*pb.Outbound] {
	c.mu.Lock()
	defer c.mu.Unlock()
	cell := c.outbound[t]
	if cell == nil {
		cell = &latest.Cell[*pb.Outbound]{}
		c.outbound[t] = cell
	}
	return cell
}

// AwaitWatches returns once n streams watch the target.
func (c *ControlPlane) AwaitWatches(ctx context.Context, t mesh.Target, n int) error {
	for {
		c.mu.Lock()
		now, changed := c.watching[t], c.changed
		c.mu.Unlock()
		if now == n {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (c *ControlPlane) count(t mesh.Target, by int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watching[t] += by
	close(c.changed)
	c.changed = make(chan struct{})
}

// Subscribe implements pb.DiscoveryServer.
func (c *ControlPlane) Subscribe(rpc pb.Discovery_SubscribeServer) error {
	first, err := rpc.Recv()
	if err != nil {
		return err
	}
	if first.GetHello().GetPod() == "" {
		return errors.New("stream does not begin with a hello that names a pod")
	}
	ctx, cancel := context.WithCancel(rpc.Context())
	s := &subscription{plane: c, rpc: rpc, stops: map[uint64]context.CancelFunc{}}
	defer s.watches.Wait()
	defer cancel()
	for {
		r, err := rpc.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := s.handle(ctx, r); err != nil {
			return err
		}
	}
}

// subscription is one proxy's stream.
type subscription struct {
	plane   *ControlPlane
	rpc     pb.Discovery_SubscribeServer
	sending sync.Mutex // one Send at a time
	watches sync.WaitGroup
	stops   map[uint64]context.CancelFunc
}

func (s *subscription) handle(ctx context.Context, r *pb.SubscribeRequest) error {
	if id := r.GetUnwatch(); id != 0 {
		s.stops[id]()
		delete(s.stops, id)
		return nil
	}
	w := r.GetWatch()
	target := mesh.Target{}
	if w.GetOutbound() != nil {
		var err error
		if target, err = api.DecodeTarget(w.GetOutbound()); err != nil {
			return err
		}
	}
	ctx, s.stops[w.GetId()] = context.WithCancel(ctx)
	s.plane.count(target, 1)
	s.watches.Go(func() {
		defer s.plane.count(target, -1)
		if target.IsInbound() {
			follow(ctx, &s.plane.inbound, func(v *pb.Inbound) error {
				return s.send(&pb.SubscribeResponse{Id: w.GetId(), Value: &pb.SubscribeResponse_Inbound{Inbound: v}})
			})
			return
		}
		follow(ctx, s.plane.cell(target), func(v *pb.Outbound) error {
			return s.send(&pb.SubscribeResponse{Id: w.GetId(), Value: &pb.SubscribeResponse_Outbound{Outbound: v}})
		})
	})
	return nil
}

// follow calls send with every value of the cell until either fails.
func follow[T any](ctx context.Context, cell *latest.Cell[T], send func(T) error) {
	var seen uint64
	for {
		v, seq, err := cell.Wait(ctx, seen)
		if err != nil || send(v) != nil {
			return
		}
		seen = seq
	}
}

func (s *subscription) send(r *pb.SubscribeResponse) error {
	s.sending.Lock()
	defer s.sending.Unlock()
	return s.rpc.Send(r)
}
