package proxy

import (
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/mesh"
)

func TestWeightsShareConnections(t *testing.T) {
	pd := startPod(t, nil)
	o := toService(listen(t, greet("itself")))
	o.Service = svc("cart")
	o.Backends = []mesh.Backend{backendOf("a", listen(t, greet("a"))), backendOf("b", listen(t, greet("b")))}
	o.OpaqueRules = []mesh.OpaqueRule{{
		Ref:      mesh.Ref{Group: "gateway.networking.k8s.io", Kind: "TCPRoute", Namespace: "shop", Name: "split"},
		Backends: []mesh.WeightedBackend{weighted("a", 3), weighted("b", 1), unresolved(1)},
	}}
	pd.plane.SetOutbound(pd.target(clusterIP), o)
	entrance := pd.outboundTo(clusterIP)
	got := map[string]int{}
	for range 100 {
		name, err := ask(entrance, "")
		if isReset(err) {
			name = "reset"
		}
		got[name]++
	}
	for who, want := range map[string]int{"a": 60, "b": 20, "reset": 20, "itself": 0} {
		if d := got[who] - want; d < -3 || d > 3 {
			t.Errorf("%s got %d of 100 connections, want %d", who, got[who], want)
		}
	}
	const labels = `{parent_group="core",parent_kind="Service",parent_namespace="shop",parent_name="cart",parent_port="80",` +
		`route_group="gateway.networking.k8s.io",route_kind="TCPRoute",route_namespace="shop",route_name="split"`
	pd.awaitMetric(t, "outbound_tcp_route_open_total"+labels+"} 100")
	pd.awaitMetric(t, "outbound_tcp_route_close_total"+labels+`,error="invalid_backend"} `+strconv.Itoa(got["reset"]))
}

// hello is the beginning of a TLS connection that asks for a name.
func hello(t *testing.T, name string) string {
	t.Helper()
	near, far := net.Pipe()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = tls.Client(near, &tls.Config{ServerName: name, MinVersion: tls.VersionTLS13}).Handshake()
	}()
	header := make([]byte, 5)
	if _, err := io.ReadFull(far, header); err != nil {
		t.Fatal(err)
	}
	record := make([]byte, binary.BigEndian.Uint16(header[3:]))
	if _, err := io.ReadFull(far, record); err != nil {
		t.Fatal(err)
	}
	far.Close()
	<-ended
	return string(header) + string(record)
}

// answering reads what it is asked before it tells its name: a reset would overtake the answer.
func answering(name string) func(*net.TCPConn) {
	return func(c *net.TCPConn) {
		_, _ = c.Read(make([]byte, 64<<10))
		_, _ = io.WriteString(c, name)
	}
}

func TestConnectionsGoByServerName(t *testing.T) {
	pd := startPod(t, nil)
	o := toService(listen(t, answering("itself")))
	o.Service, o.Protocol = svc("cart"), mesh.Detect
	o.Backends = []mesh.Backend{backendOf("a", listen(t, answering("a"))), backendOf("b", listen(t, answering("b")))}
	o.OpaqueRules = []mesh.OpaqueRule{
		{Hostnames: []string{"*.shop.example"}, Backends: []mesh.WeightedBackend{weighted("a", 1)}},
		{Hostnames: []string{"b.shop.example"}, Backends: []mesh.WeightedBackend{weighted("b", 1)}},
	}
	pd.plane.SetOutbound(pd.target(clusterIP), o)
	entrance := pd.outboundTo(clusterIP)
	for sent, want := range map[string]string{hello(t, "www.shop.example"): "a", hello(t, "b.shop.example"): "b",
		"\x00no TLS": "itself"} {
		if got, err := ask(entrance, sent); got != want || err != nil {
			t.Errorf("%.20q: got %q, %v; want %q", sent, got, err, want)
		}
	}
	if got, err := ask(entrance, hello(t, "other.example")); !isReset(err) {
		t.Errorf("a name of no rule: got %q, %v; want a reset", got, err)
	}
	if text := pd.scrape(t); !strings.Contains(text,
		`outbound_tcp_errors_total{direction="outbound",error="route_not_found"} 1`) {
		t.Error("not counted")
	}
}
