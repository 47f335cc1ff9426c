package model

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tulle-mesh/tulle/internal/alloctest"
	"github.com/tulle-mesh/tulle/mesh"
)

// TestChangeNamesEveryAnswer applies random events to a small world in which addresses, names and claims collide all
// the time. After every event, each answer that differs from before must have been named by the Change; at the end, a
// store that saw only the final objects must give the same answers.
func TestChangeNamesEveryAnswer(t *testing.T) {
	for seed := range uint64(60) {
		w := world{Rand: rand.New(rand.NewPCG(seed, 7)), live: map[string]metav1.Object{}}
		s := New(testConfig())
		snap := BuildSnapshot(s)
		before := w.answers(s, snap)
		for step := range 120 {
			event := w.event()
			change := s.Apply(event)
			if change.Snapshot {
				snap = BuildSnapshot(s)
			}
			after := w.answers(s, snap)
			for q, a := range after {
				if !a.Equal(before[q]) && !covers(change, q) {
					t.Fatalf("seed %d step %d: %T %v (deleted %v) changed %v from\n%sto\n%sbut the change is %+v", seed, step,
						event.Object,
						event.Object.GetName(), event.Deleted, q, render(before[q]), render(a), change)
				}
			}
			before = after
		}
		w.compareWithFresh(t, before)
	}
}

func covers(c Change, q query) bool {
	if c.Snapshot {
		return true
	}
	if q.target.IsInbound() {
		return slices.Contains(c.Pods, types.NamespacedName{Namespace: q.client.Namespace, Name: q.client.Pod})
	}
	return slices.Contains(c.Addrs, q.target.Addr.Addr())
}

type query struct {
	target mesh.Target
	client mesh.Client
}

// world draws events about few names and addresses.
type world struct {
	*rand.Rand
	live  map[string]metav1.Object
	clock int64
}

func (w *world) compareWithFresh(t *testing.T, got map[query]Answer) {
	t.Helper()
	fresh := New(testConfig())
	for _, key := range slices.Sorted(maps.Keys(w.live)) {
		fresh.Apply(Event{Object: w.live[key]})
	}
	for q, want := range w.answers(fresh, BuildSnapshot(fresh)) {
		if !got[q].Equal(want) {
			t.Fatalf("%v: after all events\n%sfrom the final objects alone\n%s", q, render(got[q]), render(want))
		}
	}
}

func (w *world) answers(s *Store, snap *Snapshot) map[query]Answer {
	out := map[query]Answer{}
	for _, node := range []string{"n0", "n1", "n2"} {
		for ip := range 4 {
			for _, port := range []uint16{80, 8080} {
				w.answer(out, s, snap, query{mesh.Target{Addr: netip.AddrPortFrom(clusterIP(ip), port)}, mesh.Client{Node: node}})
				w.answer(out, s, snap, query{mesh.Target{Addr: netip.AddrPortFrom(podIP(ip), port)}, mesh.Client{Node: node}})
			}
		}
	}
	for pod := range 4 {
		w.answer(out, s, snap, query{client: mesh.Client{Namespace: "shop", Pod: fmt.Sprint("pod-", pod)}})
	}
	return out
}

func (w *world) answer(out map[query]Answer, s *Store, snap *Snapshot, q query) {
	out[q] = Resolve(s, snap, QueryFor(s, snap, q.target, q.client))
}

func (w *world) event() Event {
	var o metav1.Object
	switch w.IntN(10) {
	case 0:
		zone := map[string]string{corev1.LabelTopologyZone: w.pick("z", 2)}
		o = &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: w.pick("n", 3), Labels: zone}}
	case 1:
		o = &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop", Annotations: w.annotations()}}
	case 2, 3:
		o = w.service()
	case 4, 5, 6:
		o = w.slice()
	default:
		o = w.pod()
	}
	key := fmt.Sprintf("%T/%s", o, o.GetName())
	if last, ok := w.live[key]; ok && w.IntN(4) == 0 {
		delete(w.live, key)
		return Event{Object: last, Deleted: true}
	}
	w.live[key] = o
	return Event{Object: o}
}

func (w *world) pick(prefix string, n int) string { return fmt.Sprint(prefix, w.IntN(n)) }

func (w *world) annotations() map[string]string {
	out := map[string]string{}
	if w.IntN(3) == 0 {
		out[mesh.OpaquePortsAnnotation] = [...]string{"80", "8080", ""}[w.IntN(3)]
	}
	if w.IntN(3) == 0 {
		out[mesh.DefaultInboundPolicyAnnotation] = string(mesh.AccessPolicies[w.IntN(6)])
	}
	return out
}

// service gives each name its own address, because the API server never gives one twice.
func (w *world) service() metav1.Object {
	n := w.IntN(4)
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: fmt.Sprint("svc-", n), Annotations: w.annotations()},
		Spec: corev1.ServiceSpec{ClusterIP: clusterIP(n).String(),
			Ports: []corev1.ServicePort{{Name: "http", Port: 80}}},
	}
	if w.IntN(3) == 0 {
		s.Spec.ClusterIP = corev1.ClusterIPNone
	}
	if app := "http"; w.IntN(4) == 0 {
		s.Spec.Ports[0].AppProtocol = &app
	}
	if local := corev1.ServiceInternalTrafficPolicyLocal; w.IntN(4) == 0 {
		s.Spec.InternalTrafficPolicy = &local
	}
	if near := corev1.ServiceTrafficDistributionPreferSameNode; w.IntN(4) == 0 {
		s.Spec.TrafficDistribution = &near
	}
	return s
}

func (w *world) slice() metav1.Object {
	port, portName := int32(8080), "http"
	s := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: w.pick("slice-",
				5), Labels: map[string]string{discoveryv1.LabelServiceName: w.pick("svc-", 4)},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: &portName, Port: &port}},
	}
	for range w.IntN(4) {
		ready, node, zone := w.IntN(3) > 0, w.pick("n", 3), w.pick("z", 2)
		e := discoveryv1.Endpoint{
			Addresses: []string{podIP(w.IntN(4)).String()}, NodeName: &node, Zone: &zone,
			Conditions: discoveryv1.EndpointConditions{Ready: &ready},
		}
		if w.IntN(2) == 0 {
			e.TargetRef = &corev1.ObjectReference{Kind: "Pod", Namespace: "shop", Name: w.pick("pod-", 4)}
		}
		if w.IntN(2) == 0 {
			e.Hints = &discoveryv1.EndpointHints{ForNodes: []discoveryv1.ForNode{{Name: node}},
				ForZones: []discoveryv1.ForZone{{Name: zone}}}
		}
		s.Endpoints = append(s.Endpoints, e)
	}
	return s
}

func (w *world) pod() metav1.Object {
	w.clock++
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: w.pick("pod-",
				4), UID: types.UID(fmt.Sprint("uid-", w.clock)), Annotations: w.annotations(),
			CreationTimestamp: metav1.NewTime(time.Unix(w.clock, 0)),
		},
		Spec:   corev1.PodSpec{NodeName: w.pick("n", 3), HostNetwork: w.IntN(5) == 0},
		Status: corev1.PodStatus{PodIPs: []corev1.PodIP{{IP: podIP(w.IntN(4)).String()}}},
	}
	if w.IntN(2) == 0 {
		p.Labels = map[string]string{mesh.ControlPlaneNSLabel: "tulle"}
		p.Spec.InitContainers = []corev1.Container{{Name: mesh.ProxyContainer}}
	}
	if w.IntN(6) == 0 {
		p.Status.Phase = corev1.PodFailed
	}
	return p
}

func clusterIP(n int) netip.Addr { return netip.AddrFrom4([4]byte{10, 96, 0, byte(n)}) }
func podIP(n int) netip.Addr     { return netip.AddrFrom4([4]byte{10, 1, 0, byte(n)}) }

// TestIndexesForget shows that a store from which everything was deleted holds nothing.
func TestIndexesForget(t *testing.T) {
	w := world{Rand: rand.New(rand.NewPCG(1, 1)), live: map[string]metav1.Object{}}
	s := New(testConfig())
	for range 500 {
		s.Apply(w.event())
	}
	for _, o := range w.live {
		s.Apply(Event{Object: o, Deleted: true})
	}
	left := len(s.services) + len(s.slices) + len(s.pods) + len(s.namespaces) + len(s.zones) + len(s.serviceByIP) +
		len(s.slicesByService) + len(s.slicesByIP) + len(s.podsByIP)
	if left != 0 {
		t.Errorf("%d entries left in the store: %+v", left, s)
	}
}

// TestSliceChangeAllocatesTheSameInAnyCluster counts allocations, which unlike time are nearly the same on every
// machine.
func TestSliceChangeAllocatesTheSameInAnyCluster(t *testing.T) {
	cost := func(services int) float64 {
		s := filled(cluster(services))
		snap := BuildSnapshot(s)
		event := Event{Object: benchSlice(metav1.ObjectMeta{Namespace: "ns-7", Name: "svc-7"}, 7)}
		return alloctest.Count(t, 20, func() {
			s.Apply(event)
			Resolve(s, snap, QueryFor(s, snap, benchTarget(7), mesh.Client{Node: "node-1"}))
		})
	}
	if small, large := cost(20), cost(2000); large > small*1.2 {
		t.Errorf("%v allocations among 20 Services, %v among 2000; want about the same", small, large)
	}
}
