package controller

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/api"
	"github.com/tulle-mesh/tulle/api/pb"
	"github.com/tulle-mesh/tulle/controller/discovery"
	"github.com/tulle-mesh/tulle/controller/model"
	"github.com/tulle-mesh/tulle/identity/workload"
	"github.com/tulle-mesh/tulle/internal/connlimit"
	"github.com/tulle-mesh/tulle/internal/meshtest"
	"github.com/tulle-mesh/tulle/mesh"
)

// world is a cluster: Services of 2 pods each in 100 namespaces, and routes on the first of them.
type world struct{ services, routes int }

// full is the cluster that the benchmarks' limits are for.
func full() world { return world{services: 5000, routes: 2000} }

func worldMeta(i int) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: fmt.Sprint("ns-", i%100), Name: fmt.Sprint("svc-",
			i), UID: types.UID(fmt.Sprint("uid-", i)), Generation: 1,
	}
}

func worldIP(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 96, byte(i >> 8), byte(i)}) }

// objects returns every object of the world, as the caches hold them.
func (w world) objects() []metav1.Object {
	var out []metav1.Object
	for i := range 100 {
		out = append(out, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("ns-", i)}},
			node(fmt.Sprint("node-", i), fmt.Sprint("zone-", i%3)))
	}
	for i := range w.services {
		out = append(out, &corev1.Service{
			ObjectMeta: worldMeta(i),
			Spec:       corev1.ServiceSpec{ClusterIP: worldIP(i).String(), Ports: []corev1.ServicePort{{Port: 80}}},
		})
		out = append(out, w.pod(i, 0), w.pod(i, 1), w.slice(i, 2))
	}
	for i := range w.routes {
		out = append(out, w.route(i, 1))
	}
	return out
}

func (w world) pod(i, j int) *corev1.Pod {
	meta := worldMeta(i)
	meta.Name, meta.UID = fmt.Sprint(meta.Name, "-", j), types.UID(fmt.Sprint(meta.UID, "-", j))
	meta.Labels = map[string]string{mesh.ControlPlaneNSLabel: "tulle", "app": fmt.Sprint("svc-", i),
		"pod-template-hash": "6d4cf56db6"}
	return &corev1.Pod{
		ObjectMeta: meta,
		Spec: corev1.PodSpec{
			NodeName: fmt.Sprint("node-", (i+j)%100), ServiceAccountName: "app",
			InitContainers: []corev1.Container{{Name: mesh.ProxyContainer}},
		},
		Status: corev1.PodStatus{PodIPs: []corev1.PodIP{{IP: podIP(i, j)}}},
	}
}

func podIP(i, j int) string { return fmt.Sprintf("10.%d.%d.%d", 128+j, i>>8, i&255) }

// slice has the first n pods of the Service as endpoints.
func (w world) slice(i, n int) *discoveryv1.EndpointSlice {
	s := slice(i, 0)
	s.ObjectMeta = metav1.ObjectMeta{
		Namespace: worldMeta(i).Namespace, Name: s.Name, Labels: map[string]string{discoveryv1.LabelServiceName: s.Name},
	}
	for j := range n {
		p := w.pod(i, j)
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{
			Addresses: []string{podIP(i, j)}, NodeName: &p.Spec.NodeName,
			TargetRef: &corev1.ObjectReference{Kind: "Pod", Namespace: p.Namespace, Name: p.Name, UID: p.UID},
		})
	}
	return s
}

// route returns a route of Service i: two rules. One shares requests with the next Service of the namespace.
// Its weight tells the generation.
func (w world) route(i, generation int) *gatewayv1.HTTPRoute {
	meta := worldMeta(i)
	meta.Generation = int64(generation)
	port, weight, rest := gatewayv1.PortNumber(80), int32(generation), int32(100)
	prefix, header := gatewayv1.PathMatchPathPrefix, gatewayv1.HeaderMatchExact
	path := "/v2"
	to := func(i int, weight *int32) gatewayv1.HTTPBackendRef {
		name := gatewayv1.ObjectName(fmt.Sprint("svc-", i%w.services))
		return gatewayv1.HTTPBackendRef{BackendRef: gatewayv1.BackendRef{
			BackendObjectReference: gatewayv1.BackendObjectReference{Name: name, Port: &port}, Weight: weight,
		}}
	}
	group, kind := gatewayv1.Group(""), gatewayv1.Kind("Service")
	return &gatewayv1.HTTPRoute{
		ObjectMeta: meta,
		Spec: gatewayv1.HTTPRouteSpec{
			CommonRouteSpec: gatewayv1.CommonRouteSpec{ParentRefs: []gatewayv1.ParentReference{
				{Group: &group, Kind: &kind, Name: gatewayv1.ObjectName(meta.Name), Port: &port},
			}},
			Rules: []gatewayv1.HTTPRouteRule{
				{
					Matches: []gatewayv1.HTTPRouteMatch{{
						Path:    &gatewayv1.HTTPPathMatch{Type: &prefix, Value: &path},
						Headers: []gatewayv1.HTTPHeaderMatch{{Type: &header, Name: "x-canary", Value: "yes"}},
					}},
					BackendRefs: []gatewayv1.HTTPBackendRef{to(i, &rest), to(i+100, &weight)},
				},
				{BackendRefs: []gatewayv1.HTTPBackendRef{to(i, nil)}},
			},
		},
	}
}

// store returns a store of the objects.
func store(objects []metav1.Object) *model.Store {
	s := model.New(model.Config{
		TrustDomain: "cluster.local", ClusterDomain: "cluster.local", ControlPlaneNamespace: "tulle",
		DefaultPolicy: mesh.AllUnauthenticated,
	})
	for _, o := range objects {
		s.Apply(model.Event{Object: o})
	}
	return s
}

func answerOf(s *model.Store, snap *model.Snapshot, i int) model.Answer {
	target := mesh.Target{Addr: netip.AddrPortFrom(worldIP(i), 80)}
	return model.Resolve(s, snap, model.QueryFor(s, snap, target,
		mesh.Client{Namespace: worldMeta(i).Namespace, Node: "node-0"}))
}

// BenchmarkFullBuild is everything that follows from 5,000 Services and 2,000 routes, from nothing: their records, the
// snapshot, the answer about each Service, and every status. The limit is 200 ms on one core.
func BenchmarkFullBuild(b *testing.B) {
	w := full()
	objects := w.objects()
	b.ReportAllocs()
	begin := cpuTime(b)
	for b.Loop() {
		s := store(objects)
		snap := model.BuildSnapshot(s)
		for i := range w.services {
			out := answerOf(s, snap, i).Outbound
			if want := i < w.routes; want != (len(out.Routes) == 1) || len(out.Endpoints) != 2 {
				b.Fatalf("Service %d: %d routes and %d endpoints", i, len(out.Routes), len(out.Endpoints))
			}
		}
		if got := len(s.Outcomes()); got != w.routes {
			b.Fatalf("%d statuses, want %d", got, w.routes)
		}
	}
	b.ReportMetric(float64(cpuTime(b)-begin)/1e6/float64(b.N), "cpu-ms/op")
}

// cpuTime is what the process has had of the processors: elapsed time tells little on a machine that others use.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkOneChange is what follows from one change, in worlds of different size: the cost must not depend on what it
// does not touch.
func BenchmarkOneChange(b *testing.B) {
	for _, w := range []world{{50, 20}, {500, 200}, full()} {
		s := store(w.objects())
		snap := model.BuildSnapshot(s)
		s.Outcomes()
		change := func(b *testing.B, event func(n int) metav1.Object, addrs, statuses int) {
			b.ReportAllocs()
			n := 1
			for b.Loop() {
				n++
				change := s.Apply(model.Event{Object: event(n)})
				if change.Snapshot || len(change.Addrs) != addrs {
					b.Fatalf("touches %d addresses, everything: %t; want %d", len(change.Addrs), change.Snapshot, addrs)
				}
				answerOf(s, snap, 7)
				if got := len(s.Outcomes()); got > statuses {
					b.Fatalf("%d statuses, want %d at most", got, statuses)
				}
			}
		}
		size := fmt.Sprintf("services=%d/routes=%d", w.services, w.routes)
		b.Run("route/"+size, func(b *testing.B) {
			change(b, func(n int) metav1.Object { return w.route(7, 1+n%100) }, 1, 1)
		})
		b.Run("endpoints/"+size, func(b *testing.B) {
			change(b, func(n int) metav1.Object { return w.slice(7, 1+n%2) }, 1, 0)
		})
	}
}

// streams are proxies that are connected to a controller over loopback, each by its own connection.
type streams struct {
	*fixture
	all []pb.Discovery_SubscribeClient
}

var appID = mesh.ID{TrustDomain: "cluster.local", Namespace: "ns-0", ServiceAccount: "app"}

// connect serves the controller and opens n streams, each of another pod of Service 0's namespace.
func connect(b testing.TB, f *fixture, n int) *streams {
	b.Helper()
	authority := meshtest.NewCA(b)
	serverID := mesh.ID{TrustDomain: "cluster.local", Namespace: "tulle", ServiceAccount: "tulle-destination"}
	server := discovery.New(discovery.Config{
		Log: zap.NewNop(), Registry: prometheus.NewRegistry(), TLS: authority.Certs(serverID).ServerTLS("h2"),
		Identify: workload.PeerID,
		// all proxies are at one address, and of few pods
		MaxStreams: 16, Connections: connlimit.Bounds{Total: 2 * n, PerAddress: 2 * n},
	}, f)
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx, lis) }()
	s := &streams{fixture: f}
	tls := authority.Certs(appID).ClientTLS(serverID, "h2")
	var conns []*grpc.ClientConn
	for i := range n {
		conn, err := grpc.NewClient("passthrough:///"+lis.Addr().String(),
			grpc.WithTransportCredentials(credentials.NewTLS(tls)))
		if err != nil {
			b.Fatal(err)
		}
		conns = append(conns, conn)
		stream, err := pb.NewDiscoveryClient(conn).Subscribe(ctx)
		if err != nil {
			b.Fatal(err)
		}
		// Every 100th Service is in namespace ns-0, with two pods each.
		hello := &pb.Hello{Namespace: "ns-0", Pod: fmt.Sprintf("svc-%d-%d", i%50*100, i/50%2),
			Node: fmt.Sprint("node-", i/50%2)}
		if err := stream.Send(&pb.SubscribeRequest{Message: &pb.SubscribeRequest_Hello{Hello: hello}}); err != nil {
			b.Fatal(err)
		}
		s.all = append(s.all, stream)
	}
	b.Cleanup(func() {
		cancel()
		for _, conn := range conns {
			_ = conn.Close()
		}
		<-done
	})
	return s
}

// subscribe has every stream watch targets of the world, Service 0 first, and waits for all values.
func (s *streams) subscribe(b testing.TB, w world, targets int) {
	b.Helper()
	s.each(b, func(i int, stream pb.Discovery_SubscribeClient) error {
		for t := range targets {
			target := mesh.Target{Addr: netip.AddrPortFrom(worldIP(t*(i+1)%w.services), 80)}
			request := &pb.Watch{Id: uint64(t + 1), Outbound: api.EncodeTarget(target)}
			if err := stream.Send(&pb.SubscribeRequest{Message: &pb.SubscribeRequest_Watch{Watch: request}}); err != nil {
				return err
			}
		}
		for range targets {
			if _, err := stream.Recv(); err != nil {
				return err
			}
		}
		return nil
	})
}

// each runs do for all streams at once.
func (s *streams) each(b testing.TB, do func(i int, stream pb.Discovery_SubscribeClient) error) {
	b.Helper()
	var wg sync.WaitGroup
	for i, stream := range s.all {
		wg.Go(func() {
			if err := do(i, stream); err != nil {
				b.Errorf("stream %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	if b.Failed() {
		b.FailNow()
	}
}

// worldOf returns a synced controller of the world, and its objects, which a real one has in its caches.
func worldOf(b testing.TB, w world) (*fixture, []metav1.Object) {
	f := start(b)
	objects := w.objects()
	f.apply(objects...)
	f.sync()
	return f, objects
}

// BenchmarkRouteReachesStreams is one change of a route until 1,000 proxies that watch its Service have it, through
// gRPC and TLS. The limit is 1 s at the 99th percentile, in which the clients' own work on the same machine is part.
func BenchmarkRouteReachesStreams(b *testing.B) {
	w := full()
	f, _ := worldOf(b, w)
	s := connect(b, f, 1000)
	s.subscribe(b, w, 10)
	var all []time.Duration
	n := 1
	for b.Loop() {
		n++
		begin := time.Now()
		f.apply(w.route(0, 1+n%100))
		took := make([]time.Duration, len(s.all))
		s.each(b, func(i int, stream pb.Discovery_SubscribeClient) error {
			_, err := stream.Recv()
			took[i] = time.Since(begin)
			return err
		})
		all = append(all, took...)
	}
	slices.Sort(all)
	b.ReportMetric(float64(all[len(all)*99/100])/1e6, "ms-p99")
	b.ReportMetric(float64(all[len(all)-1])/1e6, "ms-max")
}

// BenchmarkMemory is the heap of a controller with 10,000 endpoints and 1,000 proxies of 50 targets each, its caches
// and the proxies' ends of the streams included. The limit is 256 MiB.
func BenchmarkMemory(b *testing.B) {
	w := full()
	for b.Loop() {
		f, objects := worldOf(b, w)
		s := connect(b, f, 1000)
		s.subscribe(b, w, 50)
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		b.ReportMetric(float64(m.HeapAlloc)/(1<<20), "MiB-heap")
		b.ReportMetric(float64(m.StackInuse)/(1<<20), "MiB-stacks")
		runtime.KeepAlive(objects)
	}
}
