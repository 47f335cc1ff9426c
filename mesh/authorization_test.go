package mesh

import (
	"errors"
	"strings"
	"testing"
)

func TestIdentityMatch(t *testing.T) {
	id := ID{TrustDomain: "cluster.local", Namespace: "prod", ServiceAccount: "web"}
	for name, c := range map[string]struct {
		match IdentityMatch
		id    ID
		want  bool
	}{
		"an exact identity":                     {IdentityMatch(id), id, true},
		"anybody proven":                        {IdentityMatch{}, id, true},
		"a client without identity is nobody":   {IdentityMatch{}, ID{}, false},
		"a whole namespace":                     {IdentityMatch{TrustDomain: "cluster.local", Namespace: "prod"}, id, true},
		"a namespace is no prefix":              {IdentityMatch{TrustDomain: "cluster.local", Namespace: "pro"}, id, false},
		"an account is no prefix":               {IdentityMatch{"cluster.local", "prod", "we"}, id, false},
		"the same account of another namespace": {IdentityMatch{"cluster.local", "prod-evil", "web"}, id, false},
		"the same account of another domain":    {IdentityMatch{"cluster.org", "prod", "web"}, id, false},
		"a dot in an account is not a separator": {IdentityMatch{"cluster.local", "prod", "a.b"},
			ID{"cluster.local", "prod", "axb"}, false},
	} {
		if got := c.match.Matches(c.id); got != c.want {
			t.Errorf("%s: %v.Matches(%v) = %v, want %v", name, c.match, c.id, got, c.want)
		}
	}
}

func TestParseIdentityMatch(t *testing.T) {
	const dns = ".serviceaccount.identity.linkerd.cluster.local"
	web := IdentityMatch{"cluster.local", "prod", "web"}
	prod := IdentityMatch{TrustDomain: "cluster.local", Namespace: "prod"}
	domain := IdentityMatch{TrustDomain: "cluster.local"}
	for text, want := range map[string]IdentityMatch{
		"*":                                     {},
		"web.prod" + dns:                        web,
		"cluster.local/ns/prod/sa/web":          web,
		"spiffe://cluster.local/ns/prod/sa/web": web,
		"*.prod" + dns:                          prod,
		"cluster.local/ns/prod/sa/*":            prod,
		"cluster.local/ns/prod/*":               prod,
		"spiffe://cluster.local/ns/prod/sa/*":   prod,
		"*" + dns:                               domain,
		"cluster.local/*":                       domain,
		"spiffe://cluster.local/ns/*/sa/*":      domain,
		"*/ns/prod/sa/web":                      {"", "prod", "web"},
		"*/ns/*/sa/*":                           {},
		"a.b.prod" + dns:                        {"cluster.local", "prod", "a.b"},
	} {
		if got, err := ParseIdentityMatch(text); err != nil || got != want {
			t.Errorf("ParseIdentityMatch(%q) = %+v, %v; want %+v", text, got, err, want)
		}
	}
	for name, text := range map[string]string{
		"nothing":                                "",
		"the beginning of an account":            "cluster.local/ns/prod/sa/web*",
		"the end of an account":                  "cluster.local/ns/prod/sa/*b",
		"the end of an account with dots":        "*.web.prod" + dns,
		"the beginning of a namespace":           "cluster.local/ns/prod*/sa/web",
		"a namespace within a name":              "web.*" + dns,
		"a star within a name":                   "we*.prod" + dns,
		"two stars":                              "*.*" + dns,
		"the end of a trust domain":              "*.local",
		"a trust domain alone":                   "*.cluster.local",
		"a part of a trust domain":               "*.prod.serviceaccount.identity.linkerd.*",
		"a name without trust domain":            "*.prod.serviceaccount.identity.linkerd",
		"an empty namespace":                     "*." + dns,
		"a path that is not an identity's":       "spiffe://cluster.local/workload/*",
		"something before the namespace":         "cluster.local/x/prod/sa/*",
		"something after the account":            "cluster.local/ns/prod/sa/*/x",
		"a character that no namespace may hold": "cluster.local/ns/Prod/sa/*",
	} {
		if got, err := ParseIdentityMatch(text); !errors.Is(err, ErrNotID) {
			t.Errorf("%s: ParseIdentityMatch(%q) = %+v, %v; want an error", name, text, got, err)
		}
	}
}

// FuzzParseIdentityMatch shows that only the star itself means more than one identity.
func FuzzParseIdentityMatch(f *testing.F) {
	f.Add("*.prod.serviceaccount.identity.linkerd.cluster.local")
	f.Add("spiffe://cluster.local/ns/prod/sa/*")
	f.Add("a.b.c.serviceaccount.identity.x.y")
	f.Fuzz(func(t *testing.T, s string) {
		m, err := ParseIdentityMatch(s)
		if err != nil {
			return
		}
		exact := m.TrustDomain != "" && m.Namespace != "" && m.ServiceAccount != ""
		if exact == strings.Contains(s, "*") {
			t.Fatalf("%q means %+v", s, m)
		}
		if exact && ID(m).Validate() != nil {
			t.Fatalf("%q means %+v, which is not an identity", s, m)
		}
	})
}

func TestEqualSeesRoutes(t *testing.T) {
	value := func() *Outbound {
		return &Outbound{Kind: ToService, Routes: []Route{{Ref: Ref{Kind: "HTTPRoute", Name: "a"}, Rules: []Rule{{
			Matches:  []Match{{Path: PrefixPath, Value: "/"}},
			Backends: []WeightedBackend{{Service: ServiceRef{"shop", "v2", 80}, Weight: 1}},
		}}}}, Backends: []Backend{{Service: ServiceRef{"shop", "v2", 80}}}}
	}
	if !value().Equal(value()) {
		t.Error("two values of the same parts differ")
	}
	for name, change := range map[string]func(*Outbound){
		"a weight":                func(o *Outbound) { o.Routes[0].Rules[0].Backends[0].Weight = 2 },
		"an endpoint of a split":  func(o *Outbound) { o.Backends[0].Endpoints = []Endpoint{{Weight: 1}} },
		"a timeout":               func(o *Outbound) { o.Policy.Timeouts.Request = 1 },
		"a circuit breaker":       func(o *Outbound) { o.Accrual = &Accrual{MaxFailures: 7} },
		"a profile":               func(o *Outbound) { o.Profile = &Profile{} },
		"an opaque rule":          func(o *Outbound) { o.OpaqueRules = []OpaqueRule{{}} },
		"a budget within a route": func(o *Outbound) { o.Routes[0].Rules[0].Policy.Retry = &Retry{Limit: 1} },
	} {
		o := value()
		change(o)
		if o.Equal(value()) {
			t.Errorf("%s: the values are equal", name)
		}
	}
}
