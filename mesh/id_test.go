package mesh

import (
	"errors"
	"testing"
)

func TestParseIDSpellings(t *testing.T) {
	want := ID{TrustDomain: "cluster.local", Namespace: "shop", ServiceAccount: "web"}
	for _, s := range []string{
		"spiffe://cluster.local/ns/shop/sa/web",
		"cluster.local/ns/shop/sa/web",
		"web.shop.serviceaccount.identity.linkerd.cluster.local",
		"web.shop.serviceaccount.identity.tulle.cluster.local",
	} {
		got, err := ParseID(s)
		if err != nil || got != want {
			t.Errorf("ParseID(%q) = %v, %v; want %v", s, got, err, want)
		}
	}
	if got := string(want.AppendTo([]byte("by "))); got != "by "+want.String() {
		t.Errorf("AppendTo: got %q", got)
	}
	if got := (ID{}).AppendTo(nil); got != nil {
		t.Errorf("AppendTo of the zero ID: got %q", got)
	}
}

func TestParseIDRejects(t *testing.T) {
	for name, s := range map[string]string{
		"empty":                    "",
		"another scheme":           "https://cluster.local/ns/shop/sa/web",
		"path too long":            "spiffe://cluster.local/ns/shop/sa/web/x",
		"empty namespace":          "spiffe://cluster.local/ns//sa/web",
		"upper case":               "spiffe://cluster.local/ns/Shop/sa/web",
		"dot in namespace":         "spiffe://cluster.local/ns/sh.op/sa/web",
		"percent encoding":         "spiffe://cluster.local/ns/shop/sa/w%65b",
		"user info":                "spiffe://x@cluster.local/ns/shop/sa/web",
		"port":                     "spiffe://cluster.local:1/ns/shop/sa/web",
		"query":                    "spiffe://cluster.local/ns/shop/sa/web?a",
		"dot segment":              "spiffe://cluster.local/ns/../sa/web",
		"dns form without domain":  "web.shop.serviceaccount.identity.tulle",
		"dns form without account": "shop.serviceaccount.identity.tulle.cluster.local",
	} {
		if got, err := ParseID(s); !errors.Is(err, ErrNotID) {
			t.Errorf("%s: ParseID(%q) = %v, %v; want ErrNotID", name, s, got, err)
		}
	}
}

func TestDotsDoNotMoveBetweenParts(t *testing.T) {
	a, errA := ParseID("a.b.prod.serviceaccount.identity.tulle.cluster.local")
	b, errB := ParseID("spiffe://cluster.local/ns/prod/sa/a.b")
	if errA != nil || errB != nil || a != b {
		t.Fatalf("got %v (%v) and %v (%v); want equal", a, errA, b, errB)
	}
}

func FuzzParseID(f *testing.F) {
	f.Add("spiffe://cluster.local/ns/shop/sa/web")
	f.Add("a.b.prod.serviceaccount.identity.tulle.cluster.local")
	f.Fuzz(func(t *testing.T, s string) {
		id, err := ParseID(s)
		if err != nil {
			return
		}
		again, err := ParseID(id.String())
		if err != nil || again != id {
			t.Fatalf("ParseID(%q) = %v, but its String parses as %v, %v", s, id, again, err)
		}
		if id.URI().String() != id.String() {
			t.Fatalf("URI %q differs from String %q", id.URI(), id)
		}
	})
}
