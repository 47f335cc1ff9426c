package proxy

import (
	"net/netip"
	"testing"

	"github.com/tulle-mesh/tulle/mesh"
)

// An address may change hands: a Service goes and another gets its ClusterIP, or it is a Service's before discovery
// hears of it. What was the address's own Service may be a backend afterwards.
func TestAddressThatChangesHandsIsServed(t *testing.T) {
	pd := startPod(t, nil)
	entrance := pd.outboundTo(clusterIP)
	shop := func(name string) mesh.ServiceRef { return mesh.ServiceRef{Namespace: "shop", Name: name, Port: 80} }
	for _, name := range []string{"cart", "basket", "cart", "trolley"} {
		o := toService(listen(t, greet(name)))
		o.Service = shop(name)
		if name == "trolley" {
			former := mesh.Endpoint{Addr: netip.MustParseAddrPort(listen(t, greet("the backend")))}
			o.Backends = []mesh.Backend{{Service: shop("cart"), Endpoints: []mesh.Endpoint{former}}}
		}
		pd.plane.SetOutbound(pd.target(clusterIP), o)
		_, _ = ask(entrance, "") // the proxy asks for a target at its first connection
		pd.awaitRoutes(t, clusterIP, func(v *mesh.Outbound) bool { return v.Service == o.Service })
		for range 2 {
			if got, err := ask(entrance, ""); got != name || err != nil {
				t.Fatalf("%s: got %q, %v", name, got, err)
			}
		}
	}
}
