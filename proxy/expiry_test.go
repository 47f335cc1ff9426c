package proxy

import (
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/identity/ca"
	"github.com/tulle-mesh/tulle/identity/workload"
	"github.com/tulle-mesh/tulle/internal/meshtest"
	"github.com/tulle-mesh/tulle/mesh"
)

// rotation is a pair of proxies whose certificates and anchors change while they run.
type rotation struct {
	pair
	old, fresh *meshtest.CA
	web, cart  *workload.Manager
}

// startRotation runs a pair whose two ends have certificates of the old authority and trust it alone.
func startRotation(t *testing.T, app string, protocol mesh.Protocol, profile ca.Profile) *rotation {
	t.Helper()
	r := &rotation{old: meshtest.NewCAWith(t, profile, time.Now()), fresh: meshtest.NewCA(t)}
	r.web, r.cart = r.old.Certs(web), r.old.Certs(cart)
	r.server = newProxy(t, Config{Local: &Local{Certs: r.cart, Inbound: []LocalInbound{{
		Listen: anyPort, AppAddr: netip.MustParseAddrPort(app),
		Policy: mesh.PortPolicy{Policy: mesh.AllAuthenticated, Protocol: protocol},
	}}}})
	hasten(r.server)
	run(t, r.server)
	r.client = newProxy(t, Config{Local: &Local{Certs: r.web,
		Outbound: []LocalOutbound{{Listen: anyPort, Value: mesh.Outbound{
			Kind: mesh.ToService, Authority: "cart.shop.svc.cluster.local:80", Protocol: protocol,
			Endpoints: []mesh.Endpoint{{Addr: r.server.Addresses().Local.Inbound[0], Identity: cart}},
		}}}}})
	hasten(r.client)
	run(t, r.client)
	r.addr = r.client.Addresses().Local.Outbound[0].String()
	return r
}

// hasten shortens what a test would wait for.
func hasten(p *Proxy) {
	p.env.Times.ExpirySpread, p.env.Times.ExpiryGrace = 100*time.Millisecond, 2*time.Second
}

func (r *rotation) both() []*x509.Certificate {
	return slices.Concat(r.old.Roots(), r.fresh.Roots())
}

// replace gives m another certificate and other anchors.
func replace(t *testing.T, m *workload.Manager, by *meshtest.CA, roots []*x509.Certificate) {
	t.Helper()
	if err := m.ReplaceStatic(by.Issue(m.ID()), roots); err != nil {
		t.Fatal(err)
	}
}

// drop makes both ends renew their certificates under the fresh anchor, and then one of them drop the old anchor.
func (r *rotation) drop(t *testing.T, by *workload.Manager) {
	t.Helper()
	replace(t, r.web, r.fresh, r.both())
	replace(t, r.cart, r.fresh, r.both())
	replace(t, by, r.fresh, r.fresh.Roots())
}

// load sends requests that nobody may repeat, until stop is called, and reports those that are not answered. good
// counts the others.
func (r *rotation) load(t *testing.T) (good *atomic.Int64, stop func()) {
	c := client(t, r.addr, false)
	c.Transport.(*http.Transport).MaxIdleConnsPerHost = 8
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	good = new(atomic.Int64)
	for range 8 {
		wg.Go(func() {
			for ctx.Err() == nil {
				res, err := c.Post("http://cart.shop/", "text/plain", strings.NewReader(strings.Repeat("x", 10_000)))
				if err != nil {
					t.Error(err)
					return
				}
				body, err := io.ReadAll(res.Body)
				res.Body.Close()
				if err != nil || res.StatusCode != 200 || len(body) != 10_000 {
					t.Errorf("status %d, %d bytes, %v", res.StatusCode, len(body), err)
					return
				}
				good.Add(1)
			}
		})
	}
	return good, func() { cancel(); wg.Wait() }
}

// mirrorBody answers with what it was sent.
func mirrorBody(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	_, _ = w.Write(body)
}

// sum adds up the series of a family whose labels contain all of parts.
func sum(t *testing.T, p *Proxy, family string, parts ...string) (total float64) {
	t.Helper()
	var b strings.Builder
	if err := p.env.Stats.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(b.String()) {
		if !strings.HasPrefix(line, family+"{") ||
			slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(line, part) }) {
			continue
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(line[strings.LastIndexByte(line, ' '):]), 64)
		if err != nil {
			t.Fatal(err)
		}
		total += v
	}
	return total
}

// expired counts the connections that p ended.
func expired(t *testing.T, p *Proxy, parts ...string) float64 {
	t.Helper()
	return sum(t, p, "tulle_mesh_connections_lapsed_total", parts...)
}

const meshed = `tls="true"`

// opened is how many mesh connections the server's end accepted, open how many of them there are.
func (r *rotation) opened(t *testing.T) float64 {
	return sum(t, r.server, "tcp_open_total", meshed, `peer="src"`)
}

func (r *rotation) open(t *testing.T) float64 {
	return sum(t, r.server, "tcp_open_connections", meshed, `peer="src"`)
}

// TestDroppedAnchorDrainsItsConnections rotates the anchor under load. Whichever end hears of the drop, the connection
// that was made under the old anchor makes way for another, and no request notices.
func TestDroppedAnchorDrainsItsConnections(t *testing.T) {
	for _, end := range []string{"outbound", "inbound"} {
		t.Run(end, func(t *testing.T) {
			r := startRotation(t, serveHTTP(t, mirrorBody), mesh.HTTP1, ca.Profile{})
			by, proxy := r.web, r.client
			if end == "inbound" {
				by, proxy = r.cart, r.server
			}
			good, stop := r.load(t)
			meshtest.Await(t, "load", func() bool { return good.Load() > 100 })
			r.drop(t, by)
			meshtest.Await(t, "connection drained", func() bool {
				return expired(t, proxy, `direction="`+end+`"`, `action="drained"`, `reason="unknown_authority"`) == 1
			})
			meshtest.Await(t, "another connection instead", func() bool { return r.opened(t) == 2 && r.open(t) == 1 })
			before := good.Load()
			meshtest.Await(t, "load on the other connection", func() bool { return good.Load() > before+100 })
			stop()
			if n := expired(t, r.client) + expired(t, r.server); n != 1 {
				t.Errorf("%v connections were ended, want the one of the old anchor", n)
			}
		})
	}
}

// TestNothingEndsWhileTheChainHolds looks at the connections after every step of a rotation that ends none, and with
// bundles that are wrong: an end that cannot prove itself under them must not take them at their word.
func TestNothingEndsWhileTheChainHolds(t *testing.T) {
	r := startRotation(t, serveHTTP(t, mirrorBody), mesh.HTTP1, ca.Profile{})
	good, stop := r.load(t)
	meshtest.Await(t, "load", func() bool { return good.Load() > 100 })
	stranger := meshtest.NewCA(t)
	for _, step := range []struct {
		name  string
		by    *meshtest.CA
		roots []*x509.Certificate
	}{
		{"at first", r.old, r.old.Roots()},
		{"appended", r.old, r.both()},
		{"renewed", r.fresh, r.both()},
		{"a stranger's bundle", r.fresh, stranger.Roots()},
		{"the bundle of after, with a certificate of before", r.old, r.fresh.Roots()},
		{"back", r.fresh, r.both()},
	} {
		replace(t, r.web, step.by, step.roots)
		replace(t, r.cart, step.by, step.roots)
		for _, p := range []*Proxy{r.client, r.server} {
			now := time.Now()
			for range 3 { // at once, when what is due at random is, and when the grace is over
				p.reviewer.Review(now)
				now = now.Add(time.Minute)
			}
		}
		if n := expired(t, r.client) + expired(t, r.server); n != 0 {
			t.Fatalf("%s: %v connections were ended", step.name, n)
		}
	}
	stop()
	if n := r.opened(t); n != 1 {
		t.Errorf("%v connections, want one", n)
	}
}

// TestConnectionMakesWayBeforeItsCertificateEnds looks at connections near the end of their certificates' life, after
// these were renewed.
func TestConnectionMakesWayBeforeItsCertificateEnds(t *testing.T) {
	for _, end := range []string{"outbound", "inbound"} {
		t.Run(end, func(t *testing.T) {
			const life = 2 * time.Hour
			r := startRotation(t, serveHTTP(t, mirrorBody), mesh.HTTP1, ca.Profile{Lifetime: life})
			proxy := map[string]*Proxy{"outbound": r.client, "inbound": r.server}[end]
			good, stop := r.load(t)
			meshtest.Await(t, "load", func() bool { return good.Load() > 100 })
			made := time.Now()
			replace(t, r.web, r.fresh, r.both()) // renewed, for a day
			replace(t, r.cart, r.fresh, r.both())
			for _, now := range []time.Time{made, made.Add(life / 2), made.Add(life - 11*time.Minute)} {
				proxy.reviewer.Review(now)
			}
			if n := expired(t, proxy); n != 0 {
				t.Errorf("%v connections were ended more than ten minutes before the end", n)
			}
			proxy.reviewer.Review(made.Add(life + time.Minute))
			proxy.reviewer.Review(made.Add(life + time.Hour)) // what was drained is not drained again
			if n := expired(t, proxy, `direction="`+end+`"`, `action="drained"`, `reason="certificate_out_of_time"`); n != 1 {
				t.Errorf("%v connections drained at the end of the certificate, want 1", n)
			}
			meshtest.Await(t, "another connection instead", func() bool { return r.opened(t) == 2 && r.open(t) == 1 })
			proxy.reviewer.Review(made.Add(life + 2*time.Hour))
			stop()
			if n := expired(t, proxy); n != 1 {
				t.Errorf("%v connections were ended, want 1", n)
			}
		})
	}
}

// TestStreamUnderADroppedAnchorIsCut begins an answer that never ends: the connection below it has a bound.
func TestStreamUnderADroppedAnchorIsCut(t *testing.T) {
	app := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "begun")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	r := startRotation(t, app, mesh.HTTP1, ca.Profile{})
	res, err := client(t, r.addr, false).Get("http://cart.shop/")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := io.ReadFull(res.Body, make([]byte, 6)); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	r.drop(t, r.web)
	if _, err := io.ReadAll(res.Body); err == nil {
		t.Error("the stream ended as if it were complete")
	}
	if took := time.Since(began); took < r.client.env.Times.ExpiryGrace {
		t.Errorf("the stream was cut after %v, which is less than the grace", took)
	}
	for _, action := range []string{"drained", "cut"} {
		if n := expired(t, r.client, `action="`+action+`"`, `reason="unknown_authority"`); n != 1 {
			t.Errorf("%v connections %s, want 1", n, action)
		}
	}
}

// TestOpaqueConnectionUnderADroppedAnchorIsCut has nobody to tell that a connection should end, so it ends by a reset;
// but never because a certificate grew old.
func TestOpaqueConnectionUnderADroppedAnchorIsCut(t *testing.T) {
	for _, end := range []string{"outbound", "inbound"} {
		t.Run(end, func(t *testing.T) {
			r := startRotation(t, listen(t, echo), mesh.Opaque, ca.Profile{Lifetime: time.Hour})
			by, proxy := r.web, r.client
			if end == "inbound" {
				by, proxy = r.cart, r.server
			}
			c := dial(t, r.addr)
			talk := func(c *net.TCPConn) error {
				if _, err := io.WriteString(c, "ping"); err != nil {
					return err
				}
				_, err := io.ReadFull(c, make([]byte, 4))
				return err
			}
			if err := talk(c); err != nil {
				t.Fatal(err)
			}
			replace(t, r.web, r.fresh, r.both())
			replace(t, r.cart, r.fresh, r.both())
			proxy.reviewer.Review(time.Now())
			proxy.reviewer.Review(time.Now().Add(2 * time.Hour))
			if err := talk(c); err != nil || expired(t, proxy) != 0 {
				t.Fatalf("after the end of the certificate: %v, %v connections ended", err, expired(t, proxy))
			}
			r.drop(t, by)
			if err := talk(c); err != nil {
				t.Errorf("within the grace: %v", err)
			}
			if _, err := c.Read(make([]byte, 1)); !isReset(err) {
				t.Errorf("after the grace: %v, want a reset", err)
			}
			if n := expired(t, proxy, `direction="`+end+`"`, `action="cut"`, `reason="unknown_authority"`); n != 1 {
				t.Errorf("%v connections cut, want 1", n)
			}
			meshtest.Await(t, "nothing of it is left", func() bool { return proxy.reviewer.Watched() == 0 })
			if err := talk(dial(t, r.addr)); err != nil {
				t.Errorf("a new connection: %v", err)
			}
		})
	}
}

// TestDroppedAnchorCutsWhatOutlivedItsCertificate looks at connections whose peer's certificate has long ended
// when its anchor is dropped: every opaque one that is older than a day is such a one.
func TestDroppedAnchorCutsWhatOutlivedItsCertificate(t *testing.T) {
	for _, protocol := range []mesh.Protocol{mesh.HTTP1, mesh.Opaque} {
		t.Run(fmt.Sprint(protocol), func(t *testing.T) {
			app := listen(t, echo)
			if protocol == mesh.HTTP1 {
				app = serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
					fmt.Fprintln(w, "begun")
					_ = http.NewResponseController(w).Flush()
					<-r.Context().Done()
				})
			}
			r := startRotation(t, app, protocol, ca.Profile{Lifetime: time.Hour})
			c := dial(t, r.addr)
			if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: cart.shop\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(c, make([]byte, 6)); err != nil {
				t.Fatal(err)
			}
			replace(t, r.web, r.fresh, r.both())
			later := time.Now().Add(2 * time.Hour)
			r.client.reviewer.Review(later)
			if n := expired(t, r.client, `action="cut"`); n != 0 {
				t.Fatalf("%v connections cut at the end of the certificate", n)
			}
			replace(t, r.web, r.fresh, r.fresh.Roots())
			r.client.reviewer.Review(later)
			r.client.reviewer.Review(later.Add(time.Minute))
			if n := expired(t, r.client, `action="cut"`, `reason="unknown_authority"`); n != 1 {
				t.Errorf("%v connections cut without their anchor, want 1", n)
			}
		})
	}
}

// TestRevokedPeerIsCut revokes a peer, by its ServiceAccount or its certificate, at either end: its connections are cut
// at once, whatever they carry, and new handshakes fail until the entry is gone.
func TestRevokedPeerIsCut(t *testing.T) {
	for _, end := range []string{"outbound", "inbound"} {
		for _, what := range []string{"serial", "account"} {
			t.Run(end+" "+what, func(t *testing.T) {
				r := startRotation(t, serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
					fmt.Fprintln(w, "begun")
					_ = http.NewResponseController(w).Flush()
					if r.URL.Path == "/stream" {
						<-r.Context().Done()
					}
				}), mesh.HTTP1, ca.Profile{})
				by, proxy, peer, id := r.web, r.client, r.cart, cart
				if end == "inbound" {
					by, proxy, peer, id = r.cart, r.server, r.web, web
				}
				leaf := r.old.Issue(id)
				if err := peer.ReplaceStatic(leaf, r.old.Roots()); err != nil {
					t.Fatal(err)
				}
				c := client(t, r.addr, false)
				res, err := c.Get("http://cart.shop/stream")
				if err != nil {
					t.Fatal(err)
				}
				defer res.Body.Close()
				list := mesh.Revoked{Identities: []mesh.ID{id}}
				if what == "serial" {
					list = mesh.Revoked{Serials: []string{leaf.Leaf.SerialNumber.Text(16)}}
				}
				began := time.Now()
				by.Revoke(list)
				if _, err := io.ReadAll(res.Body); err == nil {
					t.Error("the stream ended as if it were whole")
				}
				if took := time.Since(began); took > 5*time.Second {
					t.Errorf("cut after %v, want within 5 s", took)
				}
				if n := expired(t, proxy, `direction="`+end+`"`, `action="cut"`, `reason="revoked"`); n != 1 {
					t.Errorf("%v connections cut, want 1", n)
				}
				status := func() int {
					res, err := c.Get("http://cart.shop/")
					if err != nil {
						return 0
					}
					res.Body.Close()
					return res.StatusCode
				}
				if got := status(); got == http.StatusOK {
					t.Error("a revoked peer is still talked to")
				}
				by.Revoke(mesh.Revoked{})
				meshtest.Await(t, "trust again", func() bool { return status() == http.StatusOK })
			})
		}
	}
}
