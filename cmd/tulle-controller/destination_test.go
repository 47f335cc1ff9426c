package main

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap/zaptest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	metadatafake "k8s.io/client-go/metadata/fake"

	"github.com/tulle-mesh/tulle/api"
	"github.com/tulle-mesh/tulle/api/pb"
	"github.com/tulle-mesh/tulle/controller/kube"
	"github.com/tulle-mesh/tulle/internal/daemon"
	"github.com/tulle-mesh/tulle/internal/meshtest"
	"github.com/tulle-mesh/tulle/mesh"
)

var webID = mesh.ID{TrustDomain: "cluster.local", Namespace: "shop", ServiceAccount: "web"}

func defaultDestination() *destinationFlags {
	return &destinationFlags{
		commonFlags:   commonFlags{addr: "127.0.0.1:0", namespace: "tulle", trustDomain: "cluster.local"},
		clusterDomain: "cluster.local", clusterNetworks: defaultClusterNetworks, inboundPolicy: "all-unauthenticated",
		opaquePorts: mesh.DefaultOpaquePorts,
	}
}

func TestDestinationFlagsAreNamedWhenWrong(t *testing.T) {
	for name, change := range map[string]func(*destinationFlags){
		"--cluster-networks":       func(f *destinationFlags) { f.clusterNetworks = "10.0.0.0" },
		"--default-inbound-policy": func(f *destinationFlags) { f.inboundPolicy = "allow" },
		"--default-opaque-ports":   func(f *destinationFlags) { f.opaquePorts = "25,web" },
		"--trust-domain":           func(f *destinationFlags) { f.trustDomain = "Cluster" },
	} {
		f := defaultDestination()
		change(f)
		if _, err := f.model(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v, want an error that names it", name, err)
		}
	}
}

// TestDestinationTellsAProxyWhatKubernetesSays goes the whole way: objects at the API server, a proxy's stream over
// mesh TLS, a change of an EndpointSlice, and of a namespace's policy.
func TestDestinationTellsAProxyWhatKubernetesSays(t *testing.T) {
	client := fake.NewClientset(
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}},
		&corev1.Service{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"},
			Spec:       corev1.ServiceSpec{ClusterIP: "10.96.0.1", Ports: []corev1.ServicePort{{Port: 80}}},
		},
		&corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: "shop", Name: "web-1", UID: "1", Labels: map[string]string{mesh.ControlPlaneNSLabel: "tulle"},
			},
			Spec: corev1.PodSpec{
				NodeName: "node-1", ServiceAccountName: "web", InitContainers: []corev1.Container{{Name: mesh.ProxyContainer}},
			},
			Status: corev1.PodStatus{PodIPs: []corev1.PodIP{{IP: "10.1.0.1"}}},
		},
		endpoints("10.1.0.1"),
	)
	proxy := subscribe(t, startDestination(t, client))
	proxy.watch(t, 1, "10.96.0.1:80")
	out := proxy.next(t).outbound(t)
	if len(out.Endpoints) != 1 || out.Endpoints[0].Identity != webID || out.Authority != "web.shop.svc.cluster.local:80" {
		t.Fatalf("got %+v, want the pod with its identity", out)
	}
	more := endpoints("10.1.0.1", "192.0.2.1")
	if _, err := client.DiscoveryV1().EndpointSlices("shop").Update(t.Context(), more,
		metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if out := proxy.next(t).outbound(t); len(out.Endpoints) != 2 {
		t.Fatalf("got %+v, want two endpoints", out)
	}

	proxy.watch(t, 2, "")
	if in := proxy.next(t).inbound(t); in.Port(80).Policy != mesh.AllUnauthenticated {
		t.Fatalf("got %+v, want the default policy", in)
	}
	denied := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: "shop", Annotations: map[string]string{mesh.DefaultInboundPolicyAnnotation: "deny"},
	}}
	if _, err := client.CoreV1().Namespaces().Update(t.Context(), denied, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if in := proxy.next(t).inbound(t); in.Port(80).Policy != mesh.Deny {
		t.Fatalf("got %+v, want deny", in)
	}
}

func endpoints(addrs ...string) *discoveryv1.EndpointSlice {
	port := int32(8080)
	s := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-x",
			Labels: map[string]string{discoveryv1.LabelServiceName: "web"}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Port: &port}},
	}
	for _, a := range addrs {
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Addresses: []string{a}})
	}
	return s
}

// clientsOf returns clients of a cluster that lacks every kind of configuration.
func clientsOf(t *testing.T, client *fake.Clientset) kube.Clients {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := metav1.AddMetaToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	return kube.Clients{
		Kubernetes: client, Dynamic: dynamicfake.NewSimpleDynamicClient(scheme),
		Metadata: metadatafake.NewSimpleMetadataClient(scheme),
	}
}

// startDestination runs the controller and returns a connection to it with the identity of web.
func startDestination(t *testing.T, client *fake.Clientset) *grpc.ClientConn {
	t.Helper()
	authority := meshtest.NewCA(t)
	f := defaultDestination()
	f.addr = freeAddr(t)
	env := &daemon.Env{Log: zaptest.NewLogger(t), Registry: prometheus.NewRegistry(), Ready: &daemon.Readiness{}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.serve(ctx, env, clientsOf(t, client), authority.Certs(f.id(mesh.DestinationName))) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("serve: %v", err)
		}
	})
	creds := credentials.NewTLS(authority.Certs(webID).ClientTLS(f.id(mesh.DestinationName), "h2"))
	conn, err := grpc.NewClient("passthrough:///"+f.addr, grpc.WithTransportCredentials(creds),
		grpc.WithDefaultCallOptions(grpc.WaitForReady(true)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// freeAddr returns a loopback address that was free a moment ago: the controller only listens once it is ready, so it
// cannot be handed a listener.
func freeAddr(t *testing.T) string {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lis.Close() }()
	return lis.Addr().String()
}

type proxyStream struct {
	grpc.BidiStreamingClient[pb.SubscribeRequest, pb.SubscribeResponse]
}

func subscribe(t *testing.T, conn *grpc.ClientConn) proxyStream {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	rpc, err := pb.NewDiscoveryClient(conn).Subscribe(ctx)
	if err != nil {
		t.Fatal(err)
	}
	p := proxyStream{rpc}
	hello := &pb.Hello{Namespace: "shop", Pod: "web-1", Node: "node-1"}
	p.send(t, &pb.SubscribeRequest{Message: &pb.SubscribeRequest_Hello{Hello: hello}})
	return p
}

func (p proxyStream) send(t *testing.T, r *pb.SubscribeRequest) {
	t.Helper()
	if err := p.Send(r); err != nil {
		t.Fatal(err)
	}
}

func (p proxyStream) watch(t *testing.T, id uint64, addr string) {
	t.Helper()
	var target mesh.Target
	if addr != "" {
		target.Addr = netip.MustParseAddrPort(addr)
	}
	p.send(t, &pb.SubscribeRequest{Message: &pb.SubscribeRequest_Watch{
		Watch: &pb.Watch{Id: id, Outbound: api.EncodeTarget(target)}}})
}

type answer struct{ *pb.SubscribeResponse }

func (p proxyStream) next(t *testing.T) answer {
	t.Helper()
	r, err := p.Recv()
	if err != nil {
		t.Fatal(err)
	}
	return answer{r}
}

func (a answer) outbound(t *testing.T) *mesh.Outbound {
	t.Helper()
	out, err := api.DecodeOutbound(a.GetOutbound(), func() {})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (a answer) inbound(t *testing.T) *mesh.Inbound {
	t.Helper()
	in, err := api.DecodeInbound(a.GetInbound())
	if err != nil {
		t.Fatal(err)
	}
	return in
}
