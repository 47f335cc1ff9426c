package inbound

import (
	"net/netip"
	"testing"
	"time"

	"go.uber.org/zap/zaptest"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/authz"
	"github.com/tulle-mesh/tulle/proxy/env"
	"github.com/tulle-mesh/tulle/proxy/reverify"
	"github.com/tulle-mesh/tulle/proxy/stats"
)

// TestDeniedConnectionsAreCutInTime: docs/request.md promises that what lost its right ends within a second. The time
// is an argument, so that the test depends on no machine.
func TestDeniedConnectionsAreCutInTime(t *testing.T) {
	policy := func(p mesh.AccessPolicy) *authz.Policy {
		return authz.Compile(&mesh.Inbound{Default: mesh.PortPolicy{Policy: p}}, nil)
	}
	e := &env.Env{Log: zaptest.NewLogger(t), Stats: stats.NewRegistry(), Started: time.Now()}
	in := New(Config{Env: e, Reviewer: reverify.New(e), Policy: policy(mesh.AllUnauthenticated)})
	origDst := netip.MustParseAddrPort("10.0.0.1:80")
	var cut []string
	open := func(name string, app *app) *peerConn {
		c := &peerConn{origDst: origDst, app: app}
		c.cut = func() {
			in.unregister(c)
			cut = append(cut, name)
		}
		in.register(c)
		return c
	}
	request := open("requests", &app{})
	in.decide(request, in.Policy().Port(origDst.Port()), authz.Whole).inFlight.Add(1)
	quiet := open("no request in flight", &app{})
	in.decide(quiet, in.Policy().Port(origDst.Port()), authz.Whole)
	open("opaque", nil)

	recheck := in.SetPolicy(policy(mesh.Deny))
	if len(cut) != 1 || cut[0] != "opaque" {
		t.Errorf("cut at once: %q, want the opaque connection", cut)
	}
	if grace := recheck.Sub(in.policySince); grace > time.Second/2 {
		t.Errorf("the recheck is due after %s, want half of the promised second at most", grace)
	}
	if next := in.Recheck(recheck.Add(-time.Millisecond)); len(cut) != 1 || !next.Equal(recheck) {
		t.Errorf("before the grace is over: cut %q, next recheck at %v, want %v", cut, next, recheck)
	}
	if in.Recheck(recheck); len(cut) != 2 || cut[1] != "requests" {
		t.Errorf("when the grace is over: cut %q, want the connection with a request", cut)
	}
}
