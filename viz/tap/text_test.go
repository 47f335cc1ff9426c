package tap

import (
	"encoding/json"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"github.com/tulle-mesh/tulle/internal/goldentest"
	"github.com/tulle-mesh/tulle/mesh"
)

// samples are events of every kind, in both directions.
func samples() []mesh.TapEvent {
	common := mesh.TapEvent{
		ID: 7, At: time.Date(2026, 11, 30, 12, 0, 0, 5000, time.UTC), Direction: mesh.TapOutbound, TLS: "true",
		Src: mesh.TapPeer{Addr: netip.MustParseAddrPort("10.0.0.1:41000"), Pod: webPod},
		Dst: mesh.TapPeer{
			Addr: netip.MustParseAddrPort("10.0.0.2:8080"), ID: cart, Pod: cartPod,
			Service: mesh.ServiceRef{Namespace: "shop", Name: "cart", Port: 80},
		},
		Route:      mesh.Ref{Group: "gateway.networking.k8s.io", Kind: "HTTPRoute", Namespace: "shop", Name: "charge"},
		GRPCStatus: -1,
	}
	with := func(edit func(*mesh.TapEvent)) mesh.TapEvent {
		e := common
		edit(&e)
		return e
	}
	inbound := func(e *mesh.TapEvent) {
		e.Direction, e.TLS, e.Route = mesh.TapInbound, "no_identity", mesh.Ref{Kind: "default", Name: "default"}
		e.Src, e.Dst.ID = mesh.TapPeer{Addr: netip.MustParseAddrPort("[fd00::1]:41000")}, mesh.ID{}
		e.Server = mesh.Ref{Group: "policy.linkerd.io", Kind: "Server", Namespace: "shop", Name: "cart-http"}
	}
	return []mesh.TapEvent{
		with(func(e *mesh.TapEvent) {
			e.Method, e.Scheme, e.Authority, e.Path = "POST", "http", "cart.shop", "/charge?x=1"
			e.Headers = []mesh.TapHeader{{Name: "user-agent", Value: "curl"}, {Name: "authorization", Value: "[redacted]"}}
		}),
		with(func(e *mesh.TapEvent) {
			e.Kind, e.Status, e.Since = mesh.TapResponse, 200, 1500*time.Millisecond
		}),
		with(func(e *mesh.TapEvent) {
			e.Kind, e.Since, e.SinceResponse, e.ResponseBytes = mesh.TapEnd, 1510*time.Millisecond, 10*time.Millisecond, 13
			e.GRPCStatus, e.Attempts = 0, 2
		}),
		with(func(e *mesh.TapEvent) {
			inbound(e)
			e.Kind, e.Error, e.Since = mesh.TapEnd, "unauthenticated", time.Millisecond
		}),
		with(func(e *mesh.TapEvent) { inbound(e); e.Kind = mesh.TapOpen }),
		with(func(e *mesh.TapEvent) {
			inbound(e)
			e.Kind, e.Since, e.RequestBytes, e.ResponseBytes, e.Error = mesh.TapClose, time.Second, 4, 9, "IO"
		}),
	}
}

func TestForms(t *testing.T) {
	target := &Target{Namespace: "shop", Pod: "web-1"}
	var out strings.Builder
	for _, sample := range samples() {
		e := newEvent(3, target, &sample)
		text, err := e.JSON()
		if err != nil {
			t.Fatal(err)
		}
		var again Event
		if err := json.Unmarshal([]byte(text), &again); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(e, &again); diff != "" {
			t.Errorf("JSON loses something (-want +got):\n%s", diff)
		}
		out.WriteString(e.Text("") + "\n" + e.Text("deployment") + "\n" + e.Text("namespace") + "\n" + text + "\n")
	}
	path := filepath.Join("testdata", "forms.txt")
	goldentest.Equal(t, path, out.String())
}

// TestNoControlCharactersReachATerminal shows that what a client sends cannot move the cursor, change colours, hide
// text or forge a line.
func TestNoControlCharactersReachATerminal(t *testing.T) {
	for name, hostile := range map[string]string{
		"escape sequence":        "/\x1b[2J\x1b]0;title\x07",
		"a second line":          "/\r\nreq id=0:9 :path=/forged",
		"C1 control":             "/\u009b31m",
		"C1 control, one byte":   "/\x9b31m",
		"reversed text":          "/\u202egnp.exe",
		"isolate":                "/\u2066a\u2069",
		"delete and null":        "/\x7f\x00\b\b",
		"tag characters":         "/\U000e0041",
		"zero width":             "/a\u200bb\ufeff",
		"line separator":         "/\u2028x",
		"bytes that are no text": "/\xff\xfe",
	} {
		t.Run(name, func(t *testing.T) {
			sample := samples()[0]
			sample.Path, sample.Authority, sample.Method = hostile, hostile, hostile
			sample.Headers = []mesh.TapHeader{{Name: hostile, Value: hostile}}
			sample.Src.Pod.OwnerName, sample.Route.Name, sample.Error = hostile, hostile, hostile
			e := newEvent(0, &Target{Pod: hostile}, &sample)
			text, err := e.JSON()
			if err != nil {
				t.Fatal(err)
			}
			notice := Notice{Proxy: hostile, Kind: Ended, Text: hostile}.String()
			for form, got := range map[string]string{
				"text": e.Text("deployment"), "JSON": strings.ReplaceAll(text, "\n", ""), "notice": notice,
			} {
				for _, r := range got {
					if !unicode.IsPrint(r) {
						t.Errorf("%s has %U: %q", form, r, got)
					}
				}
			}
			if strings.Contains(text, "\n  \"forged") || !json.Valid([]byte(text)) {
				t.Errorf("JSON is broken: %s", text)
			}
		})
	}
}
