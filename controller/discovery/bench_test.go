package discovery

import (
	"fmt"
	"testing"

	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/tulle-mesh/tulle/mesh"
)

// BenchmarkSend is what one more stream costs when a value of n endpoints changes: it must not depend on n.
func BenchmarkSend(b *testing.B) {
	for _, n := range []int{1, 1000} {
		b.Run(fmt.Sprint("endpoints=", n), func(b *testing.B) {
			out := &mesh.Outbound{Kind: mesh.ToService}
			for i := range n {
				out.Endpoints = append(out.Endpoints, mesh.Endpoint{Addr: target(i).Addr, Identity: webID})
			}
			r, c := &response{id: 7, value: &Value{Outbound: out}}, newCodec()
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Marshal(r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkFanOut is one value of 100 endpoints until the last of n streams, over real connections and mesh TLS, has
// it.
func BenchmarkFanOut(b *testing.B) {
	for _, n := range []int{10, 1000} {
		b.Run(fmt.Sprint("streams=", n), func(b *testing.B) {
			f := start(b, func(c *Config) { c.MaxStreams, c.Log = n, zap.NewNop() })
			var conn *grpc.ClientConn
			var clients []*client
			for i := range n {
				if i%100 == 0 { // connections are not what is measured
					conn = f.dial(b, webID)
				}
				c := subscribe(b, conn, hello)
				c.watch(1, target(1))
				clients = append(clients, c)
			}
			v := outbound("")
			for i := range 100 {
				v.Outbound.Endpoints = append(v.Outbound.Endpoints, mesh.Endpoint{Addr: target(i).Addr, Identity: webID})
			}
			for b.Loop() {
				f.source.cell(target(1)).Store(&Value{Outbound: v.Outbound})
				for _, c := range clients {
					c.next()
				}
			}
		})
	}
}
