package model

import (
	"fmt"
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tulle-mesh/tulle/mesh"
)

const podsPerService = 4

// cluster returns the objects of n Services with podsPerService meshed pods each.
func cluster(n int) []metav1.Object {
	var out []metav1.Object
	for i := range 100 {
		out = append(out, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("ns-", i)}})
		out = append(out, &corev1.Node{ObjectMeta: metav1.ObjectMeta{
			Name: fmt.Sprint("node-", i), Labels: map[string]string{corev1.LabelTopologyZone: fmt.Sprint("zone-", i%3)},
		}})
	}
	for i := range n {
		meta := metav1.ObjectMeta{Namespace: fmt.Sprint("ns-", i%100), Name: fmt.Sprint("svc-", i)}
		out = append(out, &corev1.Service{
			ObjectMeta: meta,
			Spec:       corev1.ServiceSpec{ClusterIP: benchClusterIP(i).String(), Ports: []corev1.ServicePort{{Port: 80}}},
		})
		for j := range podsPerService {
			out = append(out, benchPod(meta, i, j))
		}
		out = append(out, benchSlice(meta, i))
	}
	return out
}

func benchClusterIP(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 96, byte(i >> 8), byte(i)}) }

func benchPodIP(i, j int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(128 + i>>14), byte(i >> 6), byte(i<<2 | j)})
}

func benchPod(svc metav1.ObjectMeta, i, j int) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: svc.Namespace, Name: fmt.Sprint(svc.Name, "-", j), UID: types.UID(fmt.Sprint(svc.Name, "-", j)),
			Labels: map[string]string{mesh.ControlPlaneNSLabel: "tulle", "linkerd.io/proxy-deployment": svc.Name},
		},
		Spec: corev1.PodSpec{
			NodeName: fmt.Sprint("node-", (i+j)%100), ServiceAccountName: "app",
			InitContainers: []corev1.Container{{Name: mesh.ProxyContainer}},
		},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIPs: []corev1.PodIP{{IP: benchPodIP(i, j).String()}}},
	}
}

func benchSlice(svc metav1.ObjectMeta, i int) *discoveryv1.EndpointSlice {
	port, portName := int32(8080), ""
	s := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: svc.Namespace, Name: svc.Name, Labels: map[string]string{discoveryv1.LabelServiceName: svc.Name},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: &portName, Port: &port}},
	}
	for j := range podsPerService {
		node, zone, pod := fmt.Sprint("node-", (i+j)%100), fmt.Sprint("zone-", (i+j)%3), fmt.Sprint(svc.Name, "-", j)
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{
			Addresses: []string{benchPodIP(i, j).String()}, NodeName: &node, Zone: &zone,
			TargetRef: &corev1.ObjectReference{Kind: "Pod", Namespace: svc.Namespace, Name: pod, UID: types.UID(pod)},
		})
	}
	return s
}

func filled(objects []metav1.Object) *Store {
	s := New(testConfig())
	for _, o := range objects {
		s.Apply(Event{Object: o})
	}
	return s
}

func benchTarget(i int) mesh.Target {
	return mesh.Target{Addr: netip.AddrPortFrom(benchClusterIP(i), 80)}
}

// BenchmarkColdStart is a controller's start with 5,000 Services and 20,000 pods: every event, the snapshot, and an
// answer for each Service in each of three zones.
func BenchmarkColdStart(b *testing.B) {
	const services = 5000
	objects := cluster(services)
	b.ReportAllocs()
	for b.Loop() {
		s := filled(objects)
		snap := BuildSnapshot(s)
		for i := range services {
			for node := range 3 {
				q := QueryFor(s, snap, benchTarget(i), mesh.Client{Node: fmt.Sprint("node-", node)})
				if got := len(Resolve(s, snap, q).Outbound.Endpoints); got != podsPerService {
					b.Fatalf("Service %d has %d endpoints, want %d", i, got, podsPerService)
				}
			}
		}
	}
}

// BenchmarkSliceChange is one EndpointSlice update and the answer that follows from it, in clusters of different size:
// the cost must not depend on the rest of the cluster.
func BenchmarkSliceChange(b *testing.B) {
	for _, services := range []int{50, 500, 5000} {
		b.Run(fmt.Sprint("services=", services), func(b *testing.B) {
			s := filled(cluster(services))
			snap := BuildSnapshot(s)
			event := Event{Object: benchSlice(metav1.ObjectMeta{Namespace: "ns-7", Name: "svc-7"}, 7)}
			q := QueryFor(s, snap, benchTarget(7), mesh.Client{Node: "node-1"})
			b.ReportAllocs()
			for b.Loop() {
				if change := s.Apply(event); len(change.Addrs) != 1 {
					b.Fatalf("change %+v, want one address", change)
				}
				Resolve(s, snap, q)
			}
		})
	}
}
