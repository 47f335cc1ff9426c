package proxy

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/tulle-mesh/tulle/internal/meshtest"
	"github.com/tulle-mesh/tulle/mesh"
)

// panel is one expression of a dashboard. empty says that it shows nothing where all is well.
type panel struct {
	dashboard, expr string
	empty           bool
}

// panels reads testdata/panels.txt.
func panels(t *testing.T) (out []panel) {
	t.Helper()
	text, err := os.ReadFile("testdata/panels.txt")
	if err != nil {
		t.Fatal(err)
	}
	dashboard, by := "", []string{""}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\n")
		expr, indented := strings.CutPrefix(line, "\t")
		switch {
		case line == "", line[0] == '#':
		case indented:
			expr, empty := strings.CutPrefix(expr, "? ")
			for _, b := range by {
				out = append(out, panel{dashboard, strings.NewReplacer("$by", b, "$w", "5s").Replace(expr), empty})
			}
		default:
			name, list, ok := strings.Cut(line, ": ")
			dashboard, by = name, []string{""}
			if ok {
				by = strings.Fields(list)
			}
		}
	}
	return out
}

// TestDashboards sends traffic through two proxies and asks what Linkerd's dashboards ask: whether there are series
// with all the labels that a panel names, and, if there is a Prometheus (PROMETHEUS, or in the PATH), that. Prometheus
// also runs each query of Tulle's own dashboards.
func TestDashboards(t *testing.T) {
	shop := openShop(t)
	shop.visit(t)
	missing := shop.missing(t)
	for deadline := time.Now().Add(10 * time.Second); len(missing) > 0 && time.Now().Before(deadline); {
		missing = shop.missing(t) // a connection is counted when its end has been seen
	}
	for _, m := range missing {
		t.Error(m)
	}
	t.Run("Prometheus", shop.askPrometheus)
}

// missing returns what the panels ask for and a scrape does not have.
func (s *shop) missing(t *testing.T) (out []string) {
	t.Helper()
	series := s.series(t)
	for _, p := range panels(t) {
		for _, one := range selectors(t, p.expr) {
			if !one.in(series) && !(p.empty && one.named(series)) {
				out = append(out, fmt.Sprintf("%s: nothing for %s by %v in %s", p.dashboard, one.text, one.by, p.expr))
			}
		}
	}
	return out
}

// shop is the proxies of two pods, web's, which calls, and cart's; and others, by name.
type shop struct {
	web, cart *Proxy
	others    map[string]*Proxy
	calls     []func() error
	troubles  []func() // calls that may fail
}

func openShop(t *testing.T) *shop {
	t.Helper()
	ca := meshtest.NewCA(t)
	app := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/broken") {
			w.WriteHeader(http.StatusInternalServerError)
		}
		_, _ = io.WriteString(w, "hello")
	})
	bytes := listen(t, echo)
	server := mesh.Ref{Group: "policy.linkerd.io", Kind: "Server", Namespace: "shop", Name: "cart"}
	policy := mesh.PortPolicy{Policy: mesh.Deny, Server: server, Routes: []mesh.InboundRoute{
		routed("pages", mesh.Match{Path: mesh.PrefixPath, Value: "/"}, authorize(mesh.AnyClients)),
		routed("admin", mesh.Match{Path: mesh.PrefixPath, Value: "/admin"}),
	}}
	s := &shop{others: map[string]*Proxy{"orders": startPod(t, nil).Proxy}} // it has a control plane
	s.cart = start(t, Config{Local: &Local{Certs: ca.Certs(cart), Admin: anyPort, Inbound: []LocalInbound{
		{Listen: anyPort, AppAddr: netip.MustParseAddrPort(app), Policy: policy},
		{Listen: anyPort, AppAddr: netip.MustParseAddrPort(bytes),
			Policy: opaque(mesh.PortPolicy{Policy: mesh.AllUnauthenticated})},
	}}})
	at := s.cart.Addresses().Local.Inbound
	endpoint := func(addr netip.AddrPort) []mesh.Endpoint {
		return []mesh.Endpoint{{Addr: addr, Identity: cart,
			Pod: mesh.PodRef{Namespace: "shop", Name: "cart-1", ServiceAccount: "cart",
				OwnerKind: "deployment", OwnerName: "cart", PodTemplateHash: "abc", ControlPlaneNS: "tulle"}}}
	}
	target := func(name string) mesh.Outbound {
		authority := name + ".shop.svc.cluster.local:80"
		return mesh.Outbound{Kind: mesh.ToService, Service: svc(name), Authority: authority, Endpoints: endpoint(at[0])}
	}
	books, queue := target("books"), target("queue")
	books.Profile = &mesh.Profile{Routes: []mesh.ProfileRoute{
		{Name: "GET /books", Condition: mesh.Condition{PathRegex: "/books.*"}}}}
	queue.Protocol, queue.Endpoints = mesh.Opaque, endpoint(at[1])
	s.web = start(t, Config{Local: &Local{Certs: ca.Certs(web), Admin: anyPort, Outbound: []LocalOutbound{
		{Listen: anyPort, Value: target("cart")}, {Listen: anyPort, Value: books}, {Listen: anyPort, Value: queue},
	}}})
	to := s.web.Addresses().Local.Outbound
	for addr, paths := range map[string][]string{
		to[0].String(): {"/", "/broken", "/admin"},
		to[1].String(): {"/books", "/books/broken"},
		at[0].String(): {"/"}, // a client without proxy
	} {
		c := client(t, addr, false)
		for _, path := range paths {
			s.calls = append(s.calls, func() error {
				res, err := c.Get("http://cart.shop" + path)
				if err != nil {
					return err
				}
				defer res.Body.Close()
				_, err = io.Copy(io.Discard, res.Body)
				return err
			})
		}
	}
	s.calls = append(s.calls, func() error {
		c, err := net.Dial("tcp", to[2].String())
		if err != nil {
			return err
		}
		defer c.Close()
		if _, err := io.WriteString(c, "x"); err != nil {
			return err
		}
		_, err = io.ReadFull(c, make([]byte, 1))
		return err
	})
	waiting := dial(t, to[2].String()) // a connection that stays open
	if _, err := io.WriteString(waiting, "x"); err != nil {
		t.Fatal(err)
	}
	return s
}

// visit makes each call once.
func (s *shop) visit(t *testing.T) {
	t.Helper()
	for _, call := range s.calls {
		if err := call(); err != nil {
			t.Fatal(err)
		}
	}
}

// pods are the proxies with the labels that Prometheus gives to what it scrapes from their pods.
func (s *shop) pods() map[*Proxy]map[string]string {
	labels := func(name string) map[string]string {
		return map[string]string{
			"job": "linkerd-proxy", "namespace": "shop", "deployment": name, "pod": name + "-1", "control_plane_ns": "tulle",
		}
	}
	pods := map[*Proxy]map[string]string{s.web: labels("web"), s.cart: labels("cart")}
	for name, p := range s.others {
		pods[p] = labels(name)
	}
	return pods
}

// series returns what a scrape of all pods gives.
func (s *shop) series(t *testing.T) (all []map[string]string) {
	t.Helper()
	for p, labels := range s.pods() {
		res, err := http.Get("http://" + p.Addresses().Admin.String() + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		var samples model.Vector
		d := &expfmt.SampleDecoder{Dec: expfmt.NewDecoder(res.Body, expfmt.ResponseFormat(res.Header)),
			Opts: &expfmt.DecodeOptions{}}
		for {
			var v model.Vector
			if err := d.Decode(&v); err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			samples = append(samples, v...)
		}
		for _, sample := range samples {
			one := map[string]string{}
			for name, value := range labels {
				one[name] = value
			}
			for name, value := range sample.Metric {
				one[string(name)] = string(value)
			}
			all = append(all, one)
		}
	}
	return all
}

// selector is one of an expression's: a metric, what its labels must be, and which must be there.
type selector struct {
	text     string
	name     string
	matchers [][3]string // label, operator, value
	by       []string
}

var (
	selectorText = regexp.MustCompile(
		`\b((?:process|request|response|route|tcp|inbound|outbound|control|identity)_\w+)(?:\{([^}]*)\})?`)
	matcherText = regexp.MustCompile(`(\w+)(=~|!=|=)"([^"]*)"`)
	byText      = regexp.MustCompile(`\bby \(([^)]*)\)`)
)

func selectors(t *testing.T, expr string) (out []selector) {
	t.Helper()
	var by []string
	for _, list := range byText.FindAllStringSubmatch(expr, -1) {
		by = append(by, strings.Split(list[1], ", ")...)
	}
	for _, m := range selectorText.FindAllStringSubmatch(byText.ReplaceAllString(expr, ""), -1) {
		s := selector{text: m[0], name: m[1], by: by}
		for _, one := range matcherText.FindAllStringSubmatch(m[2], -1) {
			s.matchers = append(s.matchers, [3]string(one[1:]))
		}
		out = append(out, s)
	}
	if len(out) == 0 {
		t.Fatalf("no metric in %s", expr)
	}
	return out
}

// in reports whether a series fits.
func (s selector) in(series []map[string]string) bool {
	for _, one := range series {
		if s.fits(one) {
			return true
		}
	}
	return false
}

// named reports whether there is the metric at all.
func (s selector) named(series []map[string]string) bool {
	return selector{name: s.name}.in(series)
}

func (s selector) fits(one map[string]string) bool {
	if one["__name__"] != s.name {
		return false
	}
	for _, m := range s.matchers {
		value, ok := one[m[0]], true
		switch m[1] {
		case "=":
			ok = value == m[2]
		case "!=":
			ok = value != m[2]
		default:
			ok = regexp.MustCompile("^(?:" + m[2] + ")$").MatchString(value)
		}
		if !ok {
			return false
		}
	}
	for _, label := range s.by {
		if one[label] == "" {
			return false
		}
	}
	return true
}
