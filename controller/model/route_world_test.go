package model

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/controller/compile"
	"github.com/tulle-mesh/tulle/crds/v1alpha1"
	"github.com/tulle-mesh/tulle/mesh"
)

// routeWorld draws events about few Services and whatever can be said about requests to them, so that references come
// and go, kinds get in each other's way, and namespaces want different things.
type routeWorld struct {
	*rand.Rand
	live     map[objectKey]metav1.Object
	mistakes bool
	clock    int64
}

// TestRoutingChangesNameEveryAnswer applies random events. After every event each answer that differs must have been
// named by the Change, and each status that differs must have been reported; in worlds without mistakes, whose effect
// depends on what was before, a store that saw only the final objects must give the same.
func TestRoutingChangesNameEveryAnswer(t *testing.T) {
	for seed := range uint64(40) {
		w := routeWorld{Rand: rand.New(rand.NewPCG(seed, 11)), live: map[objectKey]metav1.Object{}, mistakes: seed%2 == 0}
		s, reported := New(testConfig()), map[objectKey]Outcome{}
		snap := BuildSnapshot(s)
		before := w.answers(s, snap)
		for step := range 100 {
			event := w.event()
			change := s.Apply(event)
			if change.Snapshot {
				snap = BuildSnapshot(s)
			}
			after := w.answers(s, snap)
			for q, a := range after {
				if !a.Equal(before[q]) && !covers(change, q) {
					t.Fatalf("seed %d step %d: %T %s/%s (deleted %v) changed %v from\n%sto\n%sbut the change is %+v", seed, step,
						event.Object,
						event.Object.GetNamespace(), event.Object.GetName(), event.Deleted, q, render(before[q]), render(a), change)
				}
			}
			before = after
			for _, st := range s.Outcomes() {
				reported[objectKey{st.Object.Group, st.Object.Kind,
					types.NamespacedName{Namespace: st.Object.Namespace, Name: st.Object.Name}}] = st
			}
			w.compareStatuses(t, s, reported)
		}
		if !w.mistakes {
			w.compareWithFresh(t, s, before)
		}
	}
}

func (w *routeWorld) compareStatuses(t *testing.T, s *Store, reported map[objectKey]Outcome) {
	t.Helper()
	for k := range w.live {
		if now := newOutcomeBuilder(s).outcome(k); k.group != "" && k.kind != "ReferenceGrant" &&
			!reflect.DeepEqual(reported[k], now) {
			t.Fatalf("%v: reported last and true now differ:\n%s", k, cmp.Diff(reported[k], now))
		}
	}
}

func (w *routeWorld) compareWithFresh(t *testing.T, s *Store, got map[query]Answer) {
	t.Helper()
	fresh := New(testConfig())
	for _, o := range w.live { // in any order
		fresh.Apply(Event{Object: o})
	}
	for q, want := range w.answers(fresh, BuildSnapshot(fresh)) {
		if !got[q].Equal(want) {
			t.Fatalf("%v: after all events\n%sfrom the final objects alone\n%s", q, render(got[q]), render(want))
		}
	}
	for k := range w.live {
		if diff := cmp.Diff(newOutcomeBuilder(fresh).outcome(k), newOutcomeBuilder(s).outcome(k)); diff != "" {
			t.Fatalf("%v: from the final objects alone and after all events:\n%s", k, diff)
		}
	}
}

func (w *routeWorld) answers(s *Store, snap *Snapshot) map[query]Answer {
	out := map[query]Answer{}
	for _, client := range []mesh.Client{{Namespace: "shop", Node: "n0"}, {Namespace: "bank", Node: "n1"},
		{Namespace: "park", Node: "n1"}} {
		for ip := range 4 {
			for _, port := range []uint16{80, 81} {
				q := query{mesh.Target{Addr: netip.AddrPortFrom(clusterIP(ip), port)}, client}
				out[q] = Resolve(s, snap, QueryFor(s, snap, q.target, q.client))
			}
		}
	}
	return out
}

func (w *routeWorld) event() Event {
	var o metav1.Object
	var kind compile.RouteKind
	switch w.IntN(12) {
	case 0, 1:
		o = w.service()
	case 2:
		o = w.slice()
	case 3:
		o = w.grant()
		kind = compile.RouteKind{Group: gatewayv1.GroupName, Kind: "ReferenceGrant"}
	case 4:
		o, kind = w.profile(), compile.KindServiceProfile
	default:
		o, kind = w.route()
	}
	if _, ok := o.(*corev1.Service); ok {
		kind.Kind = "Service"
	}
	key := objectKey{kind.Group, kind.Kind, compile.NameOf(o)}
	if last, ok := w.live[key]; ok && w.IntN(4) == 0 {
		delete(w.live, key)
		return Event{Object: last, Deleted: true}
	}
	w.live[key] = o
	return Event{Object: o}
}

func (w *routeWorld) oneIn(n int) bool           { return w.IntN(n) == 0 }
func (w *routeWorld) pick(from ...string) string { return from[w.IntN(len(from))] }
func (w *routeWorld) namespace() string          { return w.pick("shop", "shop", "bank", "park") }
func (w *routeWorld) serviceName() string        { return w.pick("a", "b") }
func (w *routeWorld) mistake(right, wrong string) string {
	if w.mistakes && w.oneIn(6) {
		return wrong
	}
	return right
}

func (w *routeWorld) meta(namespace, n string) metav1.ObjectMeta {
	w.clock++
	m := metav1.ObjectMeta{
		Namespace: namespace, Name: n, UID: types.UID(n), Generation: w.clock,
		CreationTimestamp: metav1.NewTime(time.Unix(int64(w.IntN(3)), 0)),
	}
	if w.oneIn(3) {
		m.Annotations = map[string]string{compile.RetryHTTPAnnotation: w.mistake("5xx", "all"),
			compile.TimeoutRequestAnnotation: w.pick("1s", "2s")}
	}
	if w.oneIn(5) {
		m.Annotations = map[string]string{compile.AccrualAnnotation: w.mistake("consecutive", "x"),
			compile.FaultDelayAnnotation: "1s", compile.FaultUntilAnnotation: "2026-01-01T00:00:00Z"}
	}
	return m
}

// service gives each Service its own address, because the API server never gives one twice.
func (w *routeWorld) service() metav1.Object {
	n := w.IntN(4)
	where := [...][2]string{{"shop", "a"}, {"shop", "b"}, {"bank", "a"}, {"bank", "b"}}[n]
	s := &corev1.Service{ObjectMeta: w.meta(where[0], where[1]),
		Spec: corev1.ServiceSpec{ClusterIP: clusterIP(n).String()}}
	s.Spec.Ports = []corev1.ServicePort{{Name: "http", Port: 80}}
	if w.oneIn(2) {
		s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{Name: "admin", Port: 81})
	}
	if w.oneIn(6) {
		s.Spec.ClusterIP = corev1.ClusterIPNone
	}
	if local := corev1.ServiceInternalTrafficPolicyLocal; w.oneIn(5) {
		s.Spec.InternalTrafficPolicy = &local
	}
	if w.oneIn(8) {
		s.Spec.Type, s.Spec.ExternalName = corev1.ServiceTypeExternalName, "example.com"
	}
	return s
}

func (w *routeWorld) slice() metav1.Object {
	s := benchSlice(metav1.ObjectMeta{Namespace: w.pick("shop", "bank"), Name: w.serviceName()}, w.IntN(3))
	s.Ports[0].Name = new(string)
	*s.Ports[0].Name = "http"
	for i := range s.Endpoints {
		s.Endpoints[i].TargetRef = nil
		*s.Endpoints[i].NodeName = w.pick("n0", "n1")
	}
	return s
}

func (w *routeWorld) grant() metav1.Object {
	g := &gatewayv1.ReferenceGrant{ObjectMeta: w.meta(w.pick("shop", "bank"), w.pick("g1", "g2"))}
	g.Spec.From = []gatewayv1.ReferenceGrantFrom{{
		Group: gatewayv1.GroupName, Kind: gatewayv1.Kind(w.pick("HTTPRoute",
			"GRPCRoute")), Namespace: gatewayv1.Namespace(w.namespace()),
	}}
	to := gatewayv1.ReferenceGrantTo{Kind: "Service"}
	if n := gatewayv1.ObjectName(w.serviceName()); w.oneIn(2) {
		to.Name = &n
	}
	g.Spec.To = []gatewayv1.ReferenceGrantTo{to}
	return g
}

func (w *routeWorld) profile() metav1.Object {
	fqdn := fmt.Sprintf("%s.%s.svc.cluster.local", w.serviceName(), w.pick("shop", "bank"))
	p := &v1alpha1.ServiceProfile{ObjectMeta: w.meta(w.namespace(), fqdn)}
	if w.oneIn(2) {
		p.Spec.Routes = []v1alpha1.RouteSpec{{Name: "r", Condition: &v1alpha1.RequestMatch{PathRegex: w.mistake("/.*", "(")}}}
	}
	if w.oneIn(2) {
		p.Spec.DstOverrides = []v1alpha1.WeightedDst{{
			Authority: fmt.Sprintf("%s.%s.svc.cluster.local:80", w.serviceName(),
				w.pick("shop", "bank")), Weight: resource.MustParse("1"),
		}}
	}
	return p
}

func (w *routeWorld) route() (metav1.Object, compile.RouteKind) {
	kinds := []compile.RouteKind{compile.KindHTTPRoute, compile.KindHTTPRoute, compile.KindPolicyHTTPRoute,
		compile.KindGRPCRoute, compile.KindTLSRoute, compile.KindTCPRoute}
	kind := kinds[w.IntN(len(kinds))]
	meta := w.meta(w.namespace(), w.pick("r1", "r2"))
	parents := gatewayv1.CommonRouteSpec{ParentRefs: []gatewayv1.ParentReference{w.parent()}}
	if w.oneIn(3) {
		parents.ParentRefs = append(parents.ParentRefs, w.parent())
	}
	backends := []gatewayv1.BackendRef{w.backend(), w.backend()}
	switch kind {
	case compile.KindGRPCRoute:
		rule := gatewayv1.GRPCRouteRule{BackendRefs: []gatewayv1.GRPCBackendRef{{BackendRef: backends[0]},
			{BackendRef: backends[1]}}}
		return &gatewayv1.GRPCRoute{ObjectMeta: meta,
			Spec: gatewayv1.GRPCRouteSpec{CommonRouteSpec: parents, Rules: []gatewayv1.GRPCRouteRule{rule}}}, kind
	case compile.KindTLSRoute:
		rules := []gatewayv1.TLSRouteRule{{BackendRefs: backends}}
		return &gatewayv1.TLSRoute{ObjectMeta: meta,
			Spec: gatewayv1.TLSRouteSpec{CommonRouteSpec: parents, Rules: rules}}, kind
	case compile.KindTCPRoute:
		rules := []gatewayv1.TCPRouteRule{{BackendRefs: backends}}
		return &gatewayv1.TCPRoute{ObjectMeta: meta,
			Spec: gatewayv1.TCPRouteSpec{CommonRouteSpec: parents, Rules: rules}}, kind
	}
	rule := gatewayv1.HTTPRouteRule{BackendRefs: []gatewayv1.HTTPBackendRef{{BackendRef: backends[0]}}}
	if timeout := gatewayv1.Duration(w.mistake("1s", "soon")); w.oneIn(2) {
		rule.Timeouts = &gatewayv1.HTTPRouteTimeouts{Request: &timeout}
	}
	if w.oneIn(2) {
		mirror := &gatewayv1.HTTPRequestMirrorFilter{BackendRef: backends[1].BackendObjectReference}
		rule.Filters = []gatewayv1.HTTPRouteFilter{{Type: gatewayv1.HTTPRouteFilterRequestMirror, RequestMirror: mirror}}
	}
	spec := gatewayv1.HTTPRouteSpec{CommonRouteSpec: parents, Rules: []gatewayv1.HTTPRouteRule{rule}}
	if kind == compile.KindPolicyHTTPRoute {
		return &v1alpha1.HTTPRoute{ObjectMeta: meta, Spec: spec}, kind
	}
	return &gatewayv1.HTTPRoute{ObjectMeta: meta, Spec: spec}, kind
}

func (w *routeWorld) parent() gatewayv1.ParentReference {
	group, kind, namespace := gatewayv1.Group(""), gatewayv1.Kind("Service"), gatewayv1.Namespace(w.pick("shop", "bank"))
	p := gatewayv1.ParentReference{Group: &group, Kind: &kind, Namespace: &namespace,
		Name: gatewayv1.ObjectName(w.serviceName())}
	switch w.IntN(3) {
	case 0:
		port := gatewayv1.PortNumber(80 + w.IntN(2))
		p.Port = &port
	case 1:
		section := gatewayv1.SectionName(w.pick("http", "admin"))
		p.SectionName = &section
	}
	return p
}

func (w *routeWorld) backend() gatewayv1.BackendRef {
	namespace, port := gatewayv1.Namespace(w.pick("shop", "bank")), gatewayv1.PortNumber(80+w.IntN(2))
	b := gatewayv1.BackendRef{BackendObjectReference: gatewayv1.BackendObjectReference{
		Name: gatewayv1.ObjectName(w.serviceName()), Port: &port,
	}}
	if w.oneIn(2) {
		b.Namespace = &namespace
	}
	return b
}

// TestRoutingForgets shows that a store from which everything was deleted holds nothing about routing.
func TestRoutingForgets(t *testing.T) {
	w := routeWorld{Rand: rand.New(rand.NewPCG(1, 1)), live: map[objectKey]metav1.Object{}, mistakes: true}
	s := New(testConfig())
	for range 800 {
		s.Apply(w.event())
	}
	for _, o := range w.live {
		s.Apply(Event{Object: o, Deleted: true})
	}
	r := &s.routing
	if left := len(r.routes) + len(r.grants) + len(r.profiles) + len(r.routesByParent) + len(r.profilesByService) +
		len(r.grantsIn) +
		len(r.senders) + len(r.foreign) + len(s.access.routes) + len(s.access.routesAt); left != 0 {
		t.Errorf("%d entries are left: %+v", left, r)
	}
}
