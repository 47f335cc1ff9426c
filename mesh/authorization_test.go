package mesh

import "testing"

func TestIdentityMatch(t *testing.T) {
	id := ID{TrustDomain: "cluster.local", Namespace: "prod", ServiceAccount: "web"}
	for name, c := range map[string]struct {
		match IdentityMatch
		id    ID
		want  bool
	}{
		"an exact identity":                      {IdentityMatch(id), id, true},
		"anybody proven":                         {IdentityMatch{}, id, true},
		"a client without identity is nobody":    {IdentityMatch{}, ID{}, false},
		"a whole namespace":                      {IdentityMatch{TrustDomain: "cluster.local", Namespace: "prod"}, id, true},
		"a namespace is no prefix":               {IdentityMatch{TrustDomain: "cluster.local", Namespace: "pro"}, id, false},
		"an account is no prefix":                {IdentityMatch{"cluster.local", "prod", "we"}, id, false},
		"the same account of another namespace":  {IdentityMatch{"cluster.local", "prod-evil", "web"}, id, false},
		"the same account of another domain":     {IdentityMatch{"cluster.org", "prod", "web"}, id, false},
		"a dot in an account is not a separator": {IdentityMatch{"cluster.local", "prod", "a.b"}, ID{"cluster.local", "prod", "axb"}, false},
	} {
		if got := c.match.Matches(c.id); got != c.want {
			t.Errorf("%s: %v.Matches(%v) = %v, want %v", name, c.match, c.id, got, c.want)
		}
	}
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
		"a stream rule":           func(o *Outbound) { o.Streams = []StreamRule{{}} },
		"a budget within a route": func(o *Outbound) { o.Routes[0].Rules[0].Policy.Retry = &Retry{Limit: 1} },
	} {
		o := value()
		change(o)
		if o.Equal(value()) {
			t.Errorf("%s: the values are equal", name)
		}
	}
}
