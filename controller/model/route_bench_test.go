package model

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/internal/alloctest"
	"github.com/tulle-mesh/tulle/mesh"
)

// benchRoutes returns n routes, each on a Service of its own: two rules, a header match, and a canary of two backends.
func benchRoutes(n int) []metav1.Object {
	out := make([]metav1.Object, n)
	for i := range out {
		out[i] = benchRoute(i, 90)
	}
	return out
}

func benchRoute(i int, weight int32) *gatewayv1.HTTPRoute {
	meta := metav1.ObjectMeta{Namespace: fmt.Sprint("ns-", i%100), Name: fmt.Sprint("route-", i),
		Generation: int64(weight)}
	group, kind, port := gatewayv1.Group(""), gatewayv1.Kind("Service"), gatewayv1.PortNumber(80)
	backend := func(i int, weight int32) gatewayv1.HTTPBackendRef {
		return gatewayv1.HTTPBackendRef{BackendRef: gatewayv1.BackendRef{Weight: &weight,
			BackendObjectReference: gatewayv1.BackendObjectReference{
				Name: gatewayv1.ObjectName(fmt.Sprint("svc-", i)), Port: &port,
			}}}
	}
	exact, path, timeout := gatewayv1.PathMatchExact, "/v1/items", gatewayv1.Duration("10s")
	return &gatewayv1.HTTPRoute{ObjectMeta: meta, Spec: gatewayv1.HTTPRouteSpec{
		CommonRouteSpec: gatewayv1.CommonRouteSpec{ParentRefs: []gatewayv1.ParentReference{{
			Group: &group, Kind: &kind, Name: gatewayv1.ObjectName(fmt.Sprint("svc-", i)), Port: &port,
		}}},
		Rules: []gatewayv1.HTTPRouteRule{
			{
				Matches: []gatewayv1.HTTPRouteMatch{{
					Path:    &gatewayv1.HTTPPathMatch{Type: &exact, Value: &path},
					Headers: []gatewayv1.HTTPHeaderMatch{{Name: "X-Canary", Value: "true"}},
				}},
				Timeouts:    &gatewayv1.HTTPRouteTimeouts{Request: &timeout},
				BackendRefs: []gatewayv1.HTTPBackendRef{backend(i+100, 1)},
			},
			{BackendRefs: []gatewayv1.HTTPBackendRef{backend(i, weight), backend(i+100, 100-weight)}},
		},
	}}
}

// BenchmarkBuild is everything that the control plane derives from 5,000 Services, their EndpointSlices and 2,000
// routes: the records, the snapshot, the status of each route, and the answer about each of its Services.
func BenchmarkBuild(b *testing.B) {
	const services, routes = 5000, 2000
	var objects []metav1.Object
	for _, o := range cluster(services) {
		if _, isPod := o.(*corev1.Pod); !isPod {
			objects = append(objects, o)
		}
	}
	objects = append(objects, benchRoutes(routes)...)
	b.ReportAllocs()
	for b.Loop() {
		s := filled(objects)
		snap := BuildSnapshot(s)
		if got := len(s.Outcomes()); got != routes {
			b.Fatalf("%d statuses, want %d", got, routes)
		}
		for i := range routes {
			a := Resolve(s, snap, QueryFor(s, snap, benchTarget(i), mesh.Client{Node: "node-1"}))
			if len(a.Outbound.Routes) != 1 || len(a.Outbound.Backends) != 1 {
				b.Fatalf("Service %d: %+v", i, a.Outbound)
			}
		}
	}
}

// BenchmarkRouteChange is one edit of a route, its status and the answer that follows from it, among more and more
// other routes and Services: the cost must not depend on them.
func BenchmarkRouteChange(b *testing.B) {
	for _, size := range []int{800, 4000, 20000} {
		b.Run(fmt.Sprint("objects=", size), func(b *testing.B) {
			s := filled(append(cluster(size/4), benchRoutes(size/4-100)...))
			s.Outcomes()
			snap := BuildSnapshot(s)
			events := []Event{{Object: benchRoute(7, 50)}, {Object: benchRoute(7, 51)}}
			i := 0
			b.ReportAllocs()
			for b.Loop() {
				i++
				change := s.Apply(events[i%2])
				if statuses := s.Outcomes(); len(change.Addrs) != 1 || change.Snapshot || len(statuses) != 1 {
					b.Fatalf("change %+v, %d statuses, want one of each", change, len(statuses))
				}
				Resolve(s, snap, QueryFor(s, snap, benchTarget(7), mesh.Client{Node: "node-1"}))
			}
		})
	}
}

// TestRouteChangeAllocatesTheSameInAnyCluster counts allocations, which unlike time are nearly the same on every
// machine.
func TestRouteChangeAllocatesTheSameInAnyCluster(t *testing.T) {
	cost := func(size int) float64 {
		s := filled(append(cluster(size), benchRoutes(size-100)...))
		s.Outcomes()
		snap := BuildSnapshot(s)
		event := Event{Object: benchRoute(7, 50)}
		return alloctest.Count(t, 20, func() {
			s.Apply(event)
			s.Outcomes()
			Resolve(s, snap, QueryFor(s, snap, benchTarget(7), mesh.Client{Node: "node-1"}))
		})
	}
	if small, large := cost(120), cost(1200); large > small*1.2 {
		t.Errorf("%v allocations among 120 Services, %v among 1200; want about the same", small, large)
	}
}
