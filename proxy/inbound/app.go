package inbound

import (
	"context"
	"net"
	"net/netip"
	"sync"

	"github.com/tulle-mesh/tulle/proxy/env"
	"github.com/tulle-mesh/tulle/proxy/forward"
	"github.com/tulle-mesh/tulle/proxy/message"
	"github.com/tulle-mesh/tulle/proxy/sock"
	"github.com/tulle-mesh/tulle/proxy/stats"
)

// app is an application's port, and the connections to it.
type app struct {
	addr    netip.AddrPort
	holders int // guarded by Inbound.mu: open connections from peers

	mu        sync.Mutex // guards the fields below
	upstreams [2]*forward.Upstream
	tcp       *stats.TCP
	release   func()
}

// app returns the state of an application's port, and keeps it until releaseApp.
func (in *Inbound) app(addr netip.AddrPort) *app {
	in.mu.Lock()
	defer in.mu.Unlock()
	a := in.apps[addr]
	if a == nil {
		a = &app{addr: addr}
		in.apps[addr] = a
	}
	a.holders++
	return a
}

// releaseApp ends app. It closes the connections to a port that no peer is connected to any more.
func (in *Inbound) releaseApp(a *app) {
	in.mu.Lock()
	a.holders--
	last := a.holders == 0
	if last {
		delete(in.apps, a.addr)
	}
	in.mu.Unlock()
	if last {
		a.close()
	}
}

func (a *app) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, up := range a.upstreams {
		if up != nil {
			up.Close()
		}
	}
	if a.release != nil {
		a.release()
	}
}

// upstream returns the connections that requests of that version go to: an application gets the version that its client
// spoke.
func (in *Inbound) upstream(a *app, v message.Version) *forward.Upstream {
	protocol := forward.HTTP1
	if v == message.HTTP2 {
		protocol = forward.HTTP2
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.upstreams[protocol] != nil {
		return a.upstreams[protocol]
	}
	if a.tcp == nil {
		a.tcp, a.release = in.env.Stats.TCP(stats.AppLabels(in.appName(a.addr)))
	}
	a.upstreams[protocol] = in.engine.NewUpstream(forward.UpstreamConfig{
		Protocol: protocol, Traffic: &a.tcp.Traffic, Closed: a.tcp.Close,
		Dial: func(ctx context.Context) (net.Conn, error) {
			c, err := env.Dial(ctx, a.addr, in.env.Times.InboundConnect)
			if err != nil {
				return nil, err
			}
			in.listening.add(a.addr, in.env.Now())
			return sock.New(c, nil), nil
		},
	})
	return a.upstreams[protocol]
}
