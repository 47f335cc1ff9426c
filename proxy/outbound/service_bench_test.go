package outbound

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/tulle-mesh/tulle/mesh"
)

// thousands is a Service of n endpoints, of pods as the controller describes them.
func thousands(n int) []mesh.Endpoint {
	id := mesh.ID{TrustDomain: "cluster.local", Namespace: "shop", ServiceAccount: "app"}
	list := make([]mesh.Endpoint, n)
	for i := range list {
		list[i] = mesh.Endpoint{
			Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 128, byte(i >> 8), byte(i)}), 8080), Identity: id, Weight: 1,
			Zone: "zone-1",
			Pod: mesh.PodRef{
				Namespace: "shop", Name: fmt.Sprintf("app-6d4cf56db6-%05d", i), ServiceAccount: "app", OwnerKind: "deployment",
				OwnerName:       "app",
				PodTemplateHash: "6d4cf56db6", ControlPlaneNS: "tulle",
			},
		}
	}
	return list
}

// BenchmarkCrowd is what a Service of ten thousand endpoints costs beyond decoding it: when it is heard
// of, and when one of them goes or comes. docs/scale.md has the figures.
func BenchmarkCrowd(b *testing.B) {
	o, _ := newOutbound(b)
	all := thousands(10_000)
	b.Run("heard of", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			newService(o.env, o.engine).update(all, nil, `dst="app"`)
		}
	})
	b.Run("one changes", func(b *testing.B) {
		s := newService(o.env, o.engine)
		s.update(all, nil, `dst="app"`)
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			s.update(all[1-i%2:], nil, `dst="app"`)
		}
	})
}
