package stats

import (
	"fmt"
	"io"
	"net/netip"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/mesh"
)

// busyRegistry is that of a proxy with 100 routes, each to one Service of one endpoint, and all series that a request
// of theirs has.
func busyRegistry() *Registry {
	r := NewRegistry()
	r.AddProcess("v1", time.Now())
	for i := range 100 {
		service := mesh.ServiceRef{Namespace: "shop", Name: fmt.Sprintf("service-%d", i), Port: 8080}
		target := ServiceLabels(service, service.Name+".shop.svc.cluster.local:8080")
		peer := EndpointLabels(target, &mesh.Endpoint{
			Addr:     netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 8080),
			Identity: mesh.ID{TrustDomain: "cluster.local", Namespace: "shop", ServiceAccount: service.Name},
			Pod: mesh.PodRef{Namespace: "shop", Name: service.Name + "-5d4c7f-x2x1z", ServiceAccount: service.Name,
				OwnerKind: "deployment", OwnerName: service.Name, PodTemplateHash: "5d4c7f", ControlPlaneNS: "tulle"},
		}, false)
		ok := ResponseStatus{Status: 200, GRPC: NotGRPC}
		h, _ := r.HTTP(peer)
		named, _ := r.Named(target.With("rt_route", "GET /"))
		actual, _ := r.Actual(target.With("rt_route", "GET /"))
		for _, h := range []*HTTP{h, named, actual} {
			h.Request()
			h.Response(ok, 3*time.Millisecond)
		}
		tcp, _ := r.TCP(Labels(`peer="dst"`).Join(peer))
		tcp.Opened.Add(1)
		tcp.Close(time.Second, nil)
		object := mesh.Ref{Group: "gateway.networking.k8s.io", Kind: "HTTPRoute", Namespace: "shop", Name: service.Name}
		labels := ParentLabels(service).Join(ObjectLabels("route", object))
		route, _ := r.Route(labels, false)
		route.End(RouteStatus{Code: 200}, time.Millisecond)
		backend, _ := r.RouteBackend(labels.Join(BackendLabels(mesh.Ref{}, service)), false)
		backend.Request()
		backend.End(RouteStatus{Code: 200}, time.Millisecond)
	}
	return r
}

// BenchmarkScrape is one scrape of busyRegistry. cpu-ns/op includes the garbage collector and, unlike ns/op, no time in
// which the machine was busy with something else.
func BenchmarkScrape(b *testing.B) {
	r := busyRegistry()
	var size counting
	if err := r.WriteText(&size); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(size))
	b.ReportAllocs()
	before := cpuSeconds()
	for b.Loop() {
		if err := r.WriteText(io.Discard); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric((cpuSeconds()-before)*1e9/float64(b.N), "cpu-ns/op")
}

// counting counts the bytes that are written to it.
type counting int

// Write implements io.Writer.
func (c *counting) Write(p []byte) (int, error) {
	*c += counting(len(p))
	return len(p), nil
}
