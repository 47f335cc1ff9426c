package model

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/tulle-mesh/tulle/mesh"
)

// An address goes from a pod of shop/web to one of bank/books, and the events of pods and slices come in any order. A
// client of shop/web must never be sent there under the new identity. While it expects the old one, the handshake
// fails: the proxy's TestWrongIdentityFailsClosed.
func TestReusedAddressIsNeverAnEndpointOfAnother(t *testing.T) {
	const (
		address = "10.1.0.5"
		rounds  = 500
	)
	pod := func(namespace, name, account string, second int) *corev1.Pod {
		return &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID(name),
				CreationTimestamp: metav1.Unix(int64(second), 0),
				Labels:            map[string]string{mesh.ControlPlaneNSLabel: "tulle"}},
			Spec:   corev1.PodSpec{ServiceAccountName: account, InitContainers: []corev1.Container{{Name: mesh.ProxyContainer}}},
			Status: corev1.PodStatus{PodIPs: []corev1.PodIP{{IP: address}}},
		}
	}
	web, books := pod("shop", "web-1", "web", 1), pod("bank", "books-1", "books", 2)
	meta := metav1.ObjectMeta{Namespace: "shop", Name: "web",
		Labels: map[string]string{discoveryv1.LabelServiceName: "web"}}
	service := &corev1.Service{ObjectMeta: meta,
		Spec: corev1.ServiceSpec{ClusterIP: "10.96.0.1", Ports: []corev1.ServicePort{{Port: 80}}}}
	slice := func(claims *corev1.ObjectReference, addresses ...string) *discoveryv1.EndpointSlice {
		s := &discoveryv1.EndpointSlice{ObjectMeta: meta, AddressType: discoveryv1.AddressTypeIPv4,
			Ports: []discoveryv1.EndpointPort{{Port: ptr.To[int32](8080)}}}
		for _, a := range addresses {
			s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Addresses: []string{a}, TargetRef: claims})
		}
		return s
	}
	claim := &corev1.ObjectReference{Kind: "Pod", Namespace: "shop", Name: "web-1", UID: "web-1"}
	want := mesh.ID{TrustDomain: "cluster.local", Namespace: "shop", ServiceAccount: "web"}
	target := mesh.Target{Addr: netip.MustParseAddrPort("10.96.0.1:80")}
	random := rand.New(rand.NewPCG(1, 2))
	seen := 0
	for round := range rounds {
		s := New(testConfig())
		for _, o := range []metav1.Object{service, web, slice(claim, address)} {
			s.Apply(Event{Object: o})
		}
		events := []Event{{Object: web, Deleted: true}, {Object: books}, {Object: slice(claim)},
			{Object: slice(claim, address)}}
		random.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
		for i, e := range events {
			s.Apply(e)
			snap := BuildSnapshot(s)
			out := Resolve(s, snap, QueryFor(s, snap, target, mesh.Client{Namespace: "shop"})).Outbound
			seen += len(out.Endpoints)
			for _, endpoint := range out.Endpoints {
				if endpoint.Identity != want {
					t.Fatalf("round %d, after %d of %+v: endpoint %s of %s, want %s or none", round, i+1, events,
						endpoint.Addr, endpoint.Identity, want)
				}
			}
		}
	}
	if seen == 0 {
		t.Error("no answer had an endpoint: the test shows nothing")
	}
}
