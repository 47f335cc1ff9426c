package model

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/controller/compile"
	"github.com/tulle-mesh/tulle/crds/v1alpha1"
	"github.com/tulle-mesh/tulle/mesh"
)

// accessWorld draws events about the few pods, Servers and policies of two namespaces, valid ones and others.
type accessWorld struct {
	*rand.Rand
	live  map[objectKey]metav1.Object
	clock int64
}

// TestAccessChangeNamesEveryAnswer applies random events: each answer that differs after an event must have been named
// by its Change, each status that differs must be reported, and a store that saw only the final objects must say the
// same.
func TestAccessChangeNamesEveryAnswer(t *testing.T) {
	for seed := range uint64(25) {
		w := accessWorld{Rand: rand.New(rand.NewPCG(seed, 3)), live: map[objectKey]metav1.Object{}}
		s := New(testConfig())
		reported := map[objectKey]Outcome{}
		before := w.answers(s, BuildSnapshot(s))
		for step := range 150 {
			event := w.event()
			change := s.Apply(event)
			after := w.answers(s, BuildSnapshot(s))
			for q, a := range after {
				if !a.Equal(before[q]) && !covers(change, q) {
					t.Fatalf("seed %d step %d: %T %v (deleted %v) changed %v from\n%sto\n%sbut the change is %+v", seed, step,
						event.Object,
						event.Object.GetName(), event.Deleted, q, render(before[q]), render(a), change)
				}
			}
			before = after
			for _, st := range s.Outcomes() {
				reported[objectKey{st.Object.Group, st.Object.Kind,
					types.NamespacedName{Namespace: st.Object.Namespace, Name: st.Object.Name}}] = st
			}
			w.compareStatuses(t, s, reported)
		}
		w.compareWithFresh(t, s)
	}
}

func (w *accessWorld) compareStatuses(t *testing.T, s *Store, reported map[objectKey]Outcome) {
	t.Helper()
	for k := range w.live {
		if diff := cmp.Diff(reported[k], newOutcomeBuilder(s).outcome(k)); diff != "" && k.kind != "Pod" {
			t.Fatalf("%v: reported last and true now differ:\n%s", k, diff)
		}
	}
}

// compareWithFresh leaves out objects that have mistakes: what holds of them depends on what they said before.
func (w *accessWorld) compareWithFresh(t *testing.T, s *Store) {
	t.Helper()
	fresh := New(testConfig())
	for k, o := range w.live {
		if change := fresh.Apply(Event{Object: o}); len(change.Problems) > 0 {
			last := w.valid(k, o)
			s.Apply(Event{Object: last})
			fresh.Apply(Event{Object: last})
		}
	}
	got := w.answers(s, BuildSnapshot(s))
	for q, want := range w.answers(fresh, BuildSnapshot(fresh)) {
		if !got[q].Equal(want) {
			t.Fatalf("%v: after all events\n%sfrom the final objects alone\n%s", q, render(got[q]), render(want))
		}
	}
}

// valid draws until an object of the name has no mistakes.
func (w *accessWorld) valid(k objectKey, bad metav1.Object) metav1.Object {
	for {
		o := w.object(k.kind)
		o.SetNamespace(bad.GetNamespace())
		o.SetName(bad.GetName())
		o.SetUID(bad.GetUID())
		if s := New(testConfig()); len(s.Apply(Event{Object: o}).Problems) == 0 {
			return o
		}
	}
}

func (w *accessWorld) answers(s *Store, snap *Snapshot) map[query]Answer {
	out := map[query]Answer{}
	for _, namespace := range []string{"a", "b"} {
		for i := range 3 {
			pod := mesh.Client{Namespace: namespace, Pod: fmt.Sprint("pod-", i)}
			out[query{client: pod}] = Resolve(s, snap, QueryFor(s, snap, mesh.Target{}, pod))
		}
	}
	for i := range 6 {
		for _, port := range []uint16{80, 90} {
			q := query{target: mesh.Target{Addr: netip.AddrPortFrom(podIP(i), port)}}
			out[q] = Resolve(s, snap, QueryFor(s, snap, q.target, q.client))
		}
	}
	return out
}

var accessKinds = []string{
	"Pod", "Server", "Server", "AuthorizationPolicy", "AuthorizationPolicy", "ServerAuthorization",
	"MeshTLSAuthentication",
	"NetworkAuthentication", "HTTPLocalRateLimitPolicy", "HTTPRoute",
}

func (w *accessWorld) event() Event {
	kind := accessKinds[w.IntN(len(accessKinds))]
	o := w.object(kind)
	group := v1alpha1.PolicyGroup
	if kind == "Pod" {
		group = ""
	}
	k := objectKey{group, kind, compile.NameOf(o)}
	last, ok := w.live[k]
	if ok && w.IntN(4) == 0 {
		delete(w.live, k)
		return Event{Object: last, Deleted: true}
	}
	if ok && w.IntN(3) > 0 {
		o.SetUID(last.GetUID())
	}
	w.live[k] = o
	return Event{Object: o}
}

func (w *accessWorld) pick(prefix string, n int) string { return fmt.Sprint(prefix, w.IntN(n)) }

func (w *accessWorld) labels() map[string]string {
	return map[string]string{"app": w.pick("", 2), "tier": w.pick("", 2)}
}

func (w *accessWorld) selector() *metav1.LabelSelector {
	switch w.IntN(4) {
	case 0:
		return &metav1.LabelSelector{}
	case 1:
		return &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "tier", Operator: "NotIn",
			Values: []string{"0"}}}}
	}
	return &metav1.LabelSelector{MatchLabels: map[string]string{"app": w.pick("", 2)}}
}

func (w *accessWorld) object(kind string) metav1.Object {
	w.clock++
	meta := metav1.ObjectMeta{
		Namespace: [...]string{"a", "b"}[w.IntN(2)], Name: w.pick("x",
			3), UID: types.UID(fmt.Sprint(w.clock)), Generation: w.clock,
		CreationTimestamp: metav1.NewTime(time.Unix(int64(w.IntN(4)), 0)), Labels: w.labels(),
	}
	switch kind {
	case "Server":
		o := &v1alpha1.Server{ObjectMeta: meta,
			Spec: v1alpha1.ServerSpec{PodSelector: w.selector(), Port: intstr.FromString("http")}}
		if w.IntN(2) == 0 {
			o.Spec.Port = intstr.FromInt([...]int{80, 90, 0}[w.IntN(3)])
		}
		o.Spec.ProxyProtocol = [...]string{"", "opaque", "HTTP/1", "nonsense"}[w.IntN(4)]
		return o
	case "AuthorizationPolicy":
		return w.policy(meta)
	case "ServerAuthorization":
		o := &v1alpha1.ServerAuthorization{ObjectMeta: meta}
		if o.Spec.Server.Name = w.pick("x", 3); w.IntN(2) == 0 {
			o.Spec.Server = v1alpha1.ServerSelection{Selector: w.selector()}
		}
		o.Spec.Client.Unauthenticated = w.IntN(3) > 0
		return o
	case "MeshTLSAuthentication":
		texts := []string{"*", "td/ns/a/sa/b", "td/ns/a/*", "b*"}
		return &v1alpha1.MeshTLSAuthentication{ObjectMeta: meta,
			Spec: v1alpha1.MeshTLSAuthenticationSpec{Identities: texts[w.IntN(4):][:1]}}
	case "NetworkAuthentication":
		networks := []v1alpha1.Network{{CIDR: "10.0.0.0/8"}, {CIDR: "fd00::/8"}, {CIDR: "everywhere"}}
		return &v1alpha1.NetworkAuthentication{ObjectMeta: meta,
			Spec: v1alpha1.NetworkAuthenticationSpec{Networks: networks[w.IntN(3):][:1]}}
	case "HTTPLocalRateLimitPolicy":
		o := &v1alpha1.HTTPLocalRateLimitPolicy{ObjectMeta: meta}
		o.Spec.TargetRef = v1alpha1.LocalRef{Group: v1alpha1.PolicyGroup, Kind: "Server", Name: w.pick("x", 3)}
		o.Spec.Total = &v1alpha1.RateLimit{RequestsPerSecond: float64(w.IntN(4))}
		return o
	}
	if kind == "HTTPRoute" {
		return w.route(meta)
	}
	return w.pod(meta)
}

// route has no mistakes, which would make the active value depend on what was said before.
func (w *accessWorld) route(meta metav1.ObjectMeta) metav1.Object {
	o := &v1alpha1.HTTPRoute{ObjectMeta: meta}
	for range w.IntN(3) {
		ref := gatewayv1.ParentReference{Name: gatewayv1.ObjectName(w.pick("x", 3))}
		if namespace := gatewayv1.Namespace("a"); w.IntN(3) == 0 {
			ref.Namespace = &namespace
		}
		o.Spec.ParentRefs = append(o.Spec.ParentRefs, ref)
	}
	o.Spec.Rules = make([]gatewayv1.HTTPRouteRule, 1+w.IntN(2))
	return o
}

func (w *accessWorld) policy(meta metav1.ObjectMeta) metav1.Object {
	o := &v1alpha1.AuthorizationPolicy{ObjectMeta: meta}
	o.Spec.TargetRef = v1alpha1.LocalRef{Group: v1alpha1.PolicyGroup, Kind: "Server", Name: w.pick("x", 3)}
	switch w.IntN(4) {
	case 0:
		o.Spec.TargetRef.Kind = "HTTPRoute"
	case 1:
		o.Spec.TargetRef = v1alpha1.LocalRef{Kind: "Namespace", Name: [...]string{"a", "b"}[w.IntN(2)]}
	}
	for _, kind := range []string{"MeshTLSAuthentication", "NetworkAuthentication"} {
		if w.IntN(2) == 0 {
			ref := v1alpha1.ObjectRef{Group: v1alpha1.PolicyGroup, Kind: kind, Name: w.pick("x", 3),
				Namespace: [...]string{"", "a", "b"}[w.IntN(3)]}
			o.Spec.RequiredAuthenticationRefs = append(o.Spec.RequiredAuthenticationRefs, ref)
		}
	}
	return o
}

func (w *accessWorld) pod(meta metav1.ObjectMeta) metav1.Object {
	n := w.IntN(3)
	meta.Name = fmt.Sprint("pod-", n)
	if meta.Namespace == "b" {
		n += 3
	}
	p := &corev1.Pod{ObjectMeta: meta, Status: corev1.PodStatus{PodIPs: []corev1.PodIP{{IP: podIP(n).String()}}}}
	p.Spec.Containers = []corev1.Container{{Ports: []corev1.ContainerPort{{Name: "http",
		ContainerPort: int32([...]int{80, 90}[w.IntN(2)])}}}}
	if w.IntN(8) == 0 {
		p.Status.Phase = corev1.PodSucceeded
	}
	return p
}

// TestAccessForgets shows that a store from which everything was deleted holds nothing about access.
func TestAccessForgets(t *testing.T) {
	w := accessWorld{Rand: rand.New(rand.NewPCG(1, 1)), live: map[objectKey]metav1.Object{}}
	s := New(testConfig())
	for range 1000 {
		s.Apply(w.event())
	}
	for _, o := range w.live {
		s.Apply(Event{Object: o, Deleted: true})
	}
	for _, k := range slices.Collect(maps.Keys(w.live)) {
		if st := newOutcomeBuilder(s).outcome(k); !st.Gone {
			t.Errorf("%v still has a status: %+v", k, st)
		}
	}
	s.Outcomes() // which are reported after each batch of events
	if diff := cmp.Diff(newAccess(), s.access, cmp.AllowUnexported(access{}),
		cmp.Comparer(func(a, b map[string]map[*compile.Pod]struct{}) bool {
			return len(a) == len(b)
		})); diff != "" {
		t.Errorf("left in the store (-want +got):\n%s", diff)
	}
}
