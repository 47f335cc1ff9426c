package controller

import (
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/tulle-mesh/tulle/mesh"
)

// filled returns a synced controller of n Services with 4 endpoints each, on 100 nodes in 3 zones.
func filled(b *testing.B, n int) *fixture {
	f := start(b)
	for i := range 100 {
		f.apply(node(fmt.Sprint("node-", i), fmt.Sprint("zone-", i%3)))
	}
	for i := range n {
		f.apply(service(i), slice(i, 4))
	}
	f.sync()
	return f
}

// watchAll opens streams x targets watches from 100 nodes and waits until each has a value.
func watchAll(b *testing.B, f *fixture, streams, targets int) (release func()) {
	stops := make([][]func(), streams)
	var wg sync.WaitGroup
	for s := range streams {
		wg.Go(func() {
			for i := range targets {
				addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 96, byte((s + i) % 5000 >> 8), byte((s + i) % 5000)}), 80)
				cell, stop, err := f.Watch(b.Context(), mesh.Client{Node: fmt.Sprint("node-", s%100)}, mesh.Target{Addr: addr})
				if err != nil {
					b.Error(err)
					return
				}
				if _, _, err := cell.Wait(b.Context(), 0); err != nil {
					b.Error(err)
				}
				stops[s] = append(stops[s], stop)
			}
		})
	}
	wg.Wait()
	return func() {
		for _, list := range stops {
			for _, stop := range list {
				stop()
			}
		}
		f.waitForLoop()
	}
}

// BenchmarkSubscriptionStorm is 1,000 proxies that come back at once, with 50 targets each, to a controller of 5,000
// Services.
func BenchmarkSubscriptionStorm(b *testing.B) {
	f := filled(b, 5000)
	for b.Loop() {
		release := watchAll(b, f, 1000, 50)
		b.StopTimer()
		f.look(func(t *table) { b.ReportMetric(float64(len(t.answers)), "answers") })
		b.ReportMetric(float64(runtime.NumGoroutine()), "goroutines")
		release()
		b.StartTimer()
	}
}

// BenchmarkEndpointChange is one EndpointSlice change until the last of 1,000 proxies that watch its Service has the
// new value, while the cluster and what else they watch grows.
func BenchmarkEndpointChange(b *testing.B) {
	for _, targets := range []int{1, 50} {
		b.Run(fmt.Sprint("services=5000/watches-per-proxy=", targets), func(b *testing.B) {
			f := filled(b, 5000)
			b.Cleanup(watchAll(b, f, 1000, targets))
			cell, stop := f.watch(mesh.Client{Node: "node-0"}, "10.96.0.0:80")
			b.Cleanup(stop)
			_, seen := f.wait(cell, 0)
			n := 0
			for b.Loop() {
				n++
				f.apply(slice(0, 4-n%2))
				_, seen = f.wait(cell, seen)
			}
		})
	}
}

// BenchmarkNamespaceChange is the dear case: a namespace's policy changes, and every watched target is answered again.
func BenchmarkNamespaceChange(b *testing.B) {
	f := filled(b, 5000)
	b.Cleanup(watchAll(b, f, 1000, 50))
	f.apply(pod("web-1", "node-0", nil))
	cell, stop := f.watch(mesh.Client{Namespace: "shop", Pod: "web-1"}, "")
	b.Cleanup(stop)
	_, seen := f.wait(cell, 0)
	n := 0
	for b.Loop() {
		n++
		ns := &corev1.Namespace{}
		ns.Name = "shop"
		ns.Annotations = map[string]string{mesh.DefaultInboundPolicyAnnotation: string(mesh.AccessPolicies[n%2])}
		f.apply(ns)
		_, seen = f.wait(cell, seen)
	}
}
