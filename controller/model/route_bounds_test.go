package model

import (
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/controller/compile"
	"github.com/tulle-mesh/tulle/crds/v1alpha1"
	"github.com/tulle-mesh/tulle/mesh"
)

// TestOneObjectIsBounded shows what an object that asks for too much comes to: it is not accepted, and what is kept of
// it is bounded.
func TestOneObjectIsBounded(t *testing.T) {
	nested := func(depth int) *v1alpha1.RequestMatch {
		m := &v1alpha1.RequestMatch{Method: "GET"}
		for range depth {
			m = &v1alpha1.RequestMatch{Not: m}
		}
		return m
	}
	regexes := func(texts ...string) *gatewayv1.HTTPRoute {
		o := benchRoute(0, 1)
		kind := gatewayv1.PathMatchRegularExpression
		o.Spec.Rules = nil
		for _, text := range texts {
			o.Spec.Rules = append(o.Spec.Rules, gatewayv1.HTTPRouteRule{
				Matches: []gatewayv1.HTTPRouteMatch{{Path: &gatewayv1.HTTPPathMatch{Type: &kind, Value: &text}}},
			})
		}
		return o
	}
	many := func(rules, matches int) *gatewayv1.HTTPRoute {
		o := benchRoute(0, 1)
		o.Spec.Rules = make([]gatewayv1.HTTPRouteRule, rules)
		for i := range o.Spec.Rules {
			o.Spec.Rules[i].Matches = make([]gatewayv1.HTTPRouteMatch, matches)
		}
		return o
	}
	profile := func(m *v1alpha1.RequestMatch, routes int) *v1alpha1.ServiceProfile {
		p := &v1alpha1.ServiceProfile{ObjectMeta: metav1.ObjectMeta{Namespace: "ns-0", Name: "svc-0.ns-0.svc.cluster.local"}}
		for range routes {
			p.Spec.Routes = append(p.Spec.Routes, v1alpha1.RouteSpec{Name: "r", Condition: m})
		}
		return p
	}
	for _, c := range []struct {
		name   string
		object metav1.Object
		want   string // in the status; "" if it is accepted
	}{
		{"a thousand rules", many(1000, 1), ""},
		{"10,000 rules", many(10000, 0), "10000 elements: 1024 is the most"},
		{"10,000 matches", many(10, 1000), "more than 1024 matches"},
		{"a long expression", regexes(strings.Repeat("a", 4096)), ""},
		{"an expression of 10^5 characters", regexes(strings.Repeat("a", 100_000)), "has 100000 bytes: 4096 is the most"},
		{"a program that explodes", regexes(strings.Repeat("a{1000}", 100)), "too large"},
		{"many programs", regexes(strings.Repeat("a{999}", 30), strings.Repeat("b{999}", 30), strings.Repeat("c{999}", 30)),
			"spec.rules[2].matches[0].path.value: the regular expressions"},
		{"a profile", profile(nested(5), 100), ""},
		{"a profile of 10,000 routes", profile(nested(0), 10000), "10000 elements: 1024 is the most"},
		{"a profile of deep conditions", profile(nested(5000), 1), "nested more than 32 deep"},
		{"a profile of many conditions", profile(nested(20), 100), "more than 1024 conditions"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := filled(append(cluster(1), c.object))
			outcome := s.Outcomes()[0]
			result := outcome.Result
			if len(outcome.Parents) > 0 {
				result = &outcome.Parents[0].Result
			}
			mistakes := result.Findings.Of(compile.Invalid)
			message := compile.List(mistakes.Strings())
			if (len(mistakes) == 0) != (c.want == "") || !strings.Contains(message, c.want) {
				t.Errorf("got %q, want %q", message, c.want)
			}
			if len(message) > 4096 {
				t.Errorf("the message has %d bytes", len(message))
			}
			out := Resolve(s, BuildSnapshot(s), Query{Target: benchTarget(0)}).Outbound
			rules := 0
			for _, r := range out.Routes {
				rules += len(r.Rules)
			}
			if out.Profile != nil {
				rules += len(out.Profile.Routes)
			}
			if rules > compile.MaxRules {
				t.Errorf("%d rules are reported", rules)
			}
		})
	}
}

// TestRulesAtOnePortAreBounded shows that the oldest routes stay when a port gets more rules than it may have.
func TestRulesAtOnePortAreBounded(t *testing.T) {
	s := filled(cluster(1))
	for i := range 5 {
		o := benchRoute(0, 1)
		o.Name, o.Spec.Rules = fmt.Sprint("r", i), make([]gatewayv1.HTTPRouteRule, 900)
		o.CreationTimestamp = metav1.NewTime(time.Unix(int64(i), 0))
		s.Apply(Event{Object: o})
	}
	out := Resolve(s, BuildSnapshot(s), Query{Target: benchTarget(0)}).Outbound
	if len(out.Routes) != 2 || out.Routes[0].Ref.Name != "r0" || out.Routes[1].Ref.Name != "r1" {
		t.Errorf("got %d routes, want the two oldest", len(out.Routes))
	}
	for i, o := range s.Outcomes() {
		mistakes := o.Parents[0].Findings.Of(compile.Invalid)
		if accepted := len(mistakes) == 0; accepted != (i < 2) || !accepted &&
			!strings.Contains(mistakes[0].Message, "2048 rules") {
			t.Errorf("%s: %v", o.Object.Name, mistakes)
		}
	}
}

// TestBadObjectStopsNoOther puts one route with mistakes among a thousand: every other one holds, and goes on changing.
func TestBadObjectStopsNoOther(t *testing.T) {
	const routes = 1000
	s := filled(append(cluster(routes+100), benchRoutes(routes)...))
	bad := benchRoute(0, 1)
	bad.Name, bad.Namespace = "bad", "ns-0"
	regex, text := gatewayv1.PathMatchRegularExpression, "("
	bad.Spec.Rules[0].Matches[0].Path = &gatewayv1.HTTPPathMatch{Type: &regex, Value: &text}
	s.Apply(Event{Object: bad})
	for i := range routes {
		s.Apply(Event{Object: benchRoute(i, 40)})
	}
	snap := BuildSnapshot(s)
	for i := range routes {
		out := Resolve(s, snap, Query{Target: benchTarget(i)}).Outbound
		at := 0
		if i == 0 { // the bad one is at the same Service, and comes first by name
			at = 1
		}
		if got := out.Routes[at].Rules[1].Backends[0].Weight; got != 40 || out.Routes[at].Rules[0].Invalid != "" {
			t.Fatalf("route %d: weight %d, want 40", i, got)
		}
	}
	first := Resolve(s, snap, Query{Target: benchTarget(0)}).Outbound.Routes[0].Rules
	if first[0].Invalid == "" || first[0].Matches[0].Path != mesh.RegexPath || first[0].Matches[0].Value != "" ||
		first[1].Invalid != "" {
		t.Errorf("got %+v, want a first rule that takes no request", first)
	}
}
