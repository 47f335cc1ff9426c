package model

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/controller/compile"
	"github.com/tulle-mesh/tulle/crds/v1alpha1"
)

func TestBoundsOfPolicies(t *testing.T) {
	server := v1alpha1.LocalRef{Group: v1alpha1.PolicyGroup, Kind: "Server", Name: "web"}
	meta := metav1.ObjectMeta{Namespace: "shop", Name: "x"}
	limit := func(rate float64) *v1alpha1.HTTPLocalRateLimitPolicy {
		spec := v1alpha1.HTTPLocalRateLimitPolicySpec{TargetRef: server, Total: &v1alpha1.RateLimit{RequestsPerSecond: rate}}
		return &v1alpha1.HTTPLocalRateLimitPolicy{ObjectMeta: meta, Spec: spec}
	}
	for name, c := range map[string]struct {
		object  metav1.Object
		unknown []string
		field   string // of the problem; "" for none
	}{
		"no rate at all":          {limit(0), nil, "spec.total.requestsPerSecond"},
		"no number":               {limit(math.NaN()), nil, "spec.total.requestsPerSecond"},
		"an endless rate":         {limit(math.Inf(1)), nil, "spec.total.requestsPerSecond"},
		"a slow rate":             {limit(0.01), nil, ""},
		"a rate beside a novelty": {limit(1), []string{"spec.burst"}, ""},
		"an account without a name is not all of them": {&v1alpha1.AuthorizationPolicy{ObjectMeta: meta,
			Spec: v1alpha1.AuthorizationPolicySpec{
				TargetRef: server, RequiredAuthenticationRefs: []v1alpha1.ObjectRef{{Kind: "ServiceAccount"}},
			}}, nil, "spec.requiredAuthenticationRefs.name"},
		"a policy with a field that would narrow it": {&v1alpha1.AuthorizationPolicy{
			ObjectMeta: meta, Spec: v1alpha1.AuthorizationPolicySpec{TargetRef: server},
		}, []string{"spec.targetRef.namespace"}, "spec"},
		"identities for a whole city": {&v1alpha1.MeshTLSAuthentication{ObjectMeta: meta,
			Spec: v1alpha1.MeshTLSAuthenticationSpec{
				Identities: slices.Repeat([]string{"*"}, compile.MaxClientEntries+1),
			}}, nil, "spec.identities"},
		"exceptions for a whole city": {&v1alpha1.NetworkAuthentication{ObjectMeta: meta,
			Spec: v1alpha1.NetworkAuthenticationSpec{
				Networks: []v1alpha1.Network{{CIDR: "10.0.0.0/8",
					Except: slices.Repeat([]string{"10.0.0.1"}, compile.MaxClientEntries)}},
			}}, nil, "spec.networks"},
	} {
		t.Run(name, func(t *testing.T) {
			s := New(testConfig())
			var fields []string
			for _, p := range s.Apply(Event{Object: c.object, Unknown: c.unknown}).Problems {
				fields = append(fields, p.Field())
			}
			if got := strings.Join(fields, ","); got != c.field {
				t.Errorf("problems in %q, want %q", got, c.field)
			}
		})
	}
}

// TestServerHoldsSoManyRules shows that the rules of a Server are bounded, and that the oldest routes hold.
func TestServerHoldsSoManyRules(t *testing.T) {
	s := New(testConfig())
	s.Apply(Event{Object: &v1alpha1.Server{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"},
		Spec:       v1alpha1.ServerSpec{PodSelector: &metav1.LabelSelector{}, Port: intstr.FromInt32(80)},
	}})
	route := func(i int) *v1alpha1.HTTPRoute {
		return &v1alpha1.HTTPRoute{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: fmt.Sprint("route-", i),
				CreationTimestamp: metav1.NewTime(time.Unix(int64(-i), 0))},
			Spec: gatewayv1.HTTPRouteSpec{
				CommonRouteSpec: gatewayv1.CommonRouteSpec{ParentRefs: []gatewayv1.ParentReference{{Name: "web"}}},
				Rules:           make([]gatewayv1.HTTPRouteRule, compile.MaxRules),
			},
		}
	}
	accepted := func() string {
		var names []string
		for _, o := range s.Outcomes() {
			if len(o.Parents) > 0 && !o.Parents[0].Findings.Has(compile.Invalid) {
				names = append(names, o.Object.Name)
			}
		}
		return strings.Join(names, " ")
	}
	for i, want := range []string{"route-0", "route-1", "route-1 route-2"} {
		s.Apply(Event{Object: route(i)})
		if got := accepted(); got != want {
			t.Errorf("after route %d: newly accepted %q, want %q", i, got, want)
		}
	}
	if got := len(s.serverPolicy(s.access.servers[types.NamespacedName{Namespace: "shop",
		Name: "web"}]).Routes); got != maxPortRules/compile.MaxRules {
		t.Errorf("%d routes hold, want %d", got, maxPortRules/compile.MaxRules)
	}
	s.Apply(Event{Object: route(1), Deleted: true})
	if got := accepted(); got != "route-0 route-2" {
		t.Errorf("after one has gone: accepted %q, want both others", got)
	}
}

// TestServerHasRoomForSoManyAuthorizations has five AuthorizationPolicies of 4,000 identities each at one Server: the
// newest does not fit, lets nobody in and says so, until an older one goes.
func TestServerHasRoomForSoManyAuthorizations(t *testing.T) {
	s := New(testConfig())
	at := func(name string, age int) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: "shop", Name: name, Generation: 1,
			CreationTimestamp: metav1.NewTime(time.Unix(int64(age), 0))}
	}
	s.Apply(Event{Object: &v1alpha1.Server{ObjectMeta: at("web", 0), Spec: v1alpha1.ServerSpec{
		PodSelector: &metav1.LabelSelector{}, Port: intstr.FromInt32(80),
	}}})
	clients := &v1alpha1.MeshTLSAuthentication{ObjectMeta: at("clients", 0)}
	for i := range 4000 {
		clients.Spec.Identities = append(clients.Spec.Identities,
			fmt.Sprintf("spiffe://cluster.local/ns/shop/sa/client-%d", i))
	}
	s.Apply(Event{Object: clients})
	policy := func(name string, age int, kind string) *v1alpha1.AuthorizationPolicy {
		spec := v1alpha1.AuthorizationPolicySpec{
			TargetRef: v1alpha1.LocalRef{Group: v1alpha1.PolicyGroup, Kind: "Server", Name: "web"},
			RequiredAuthenticationRefs: []v1alpha1.ObjectRef{{Group: v1alpha1.PolicyGroup, Kind: "MeshTLSAuthentication",
				Name: "clients"}},
		}
		if kind == "Namespace" {
			spec.TargetRef = v1alpha1.LocalRef{Kind: kind, Name: "shop"}
		}
		return &v1alpha1.AuthorizationPolicy{ObjectMeta: at(name, age), Spec: spec}
	}
	active := func() string {
		var names []string
		web := s.access.servers[types.NamespacedName{Namespace: "shop", Name: "web"}]
		for _, a := range s.serverPolicy(web).Authorizations {
			names = append(names, a.Ref.Name)
		}
		return strings.Join(names, " ")
	}
	reported := func() string {
		var lines []string
		for line := range strings.SplitSeq(renderOutcomes(s), "\n") {
			if strings.Contains(line, "16384") {
				lines = append(lines, strings.TrimSpace(line))
			}
		}
		return strings.Join(lines, "\n")
	}
	for i, n := range []string{"e", "d", "c", "b"} {
		s.Apply(Event{Object: policy(n, i+2, "Server")})
	}
	if got := active() + reported(); got != "b c d e" {
		t.Fatalf("four of them: got %q", got)
	}
	s.Apply(Event{Object: policy("a", 9, "Server")})
	if got := active(); got != "b c d e" {
		t.Errorf("five of them: %q are active, want the oldest four", got)
	}
	const newest = `rejected Conflicted "older authorizations use the maximum of 16384 identities and networks of a ` +
		`Server; this one allows nobody at: web"`
	const crowded = `ignored UnsupportedValue "authorizations exceed the maximum of 16384 identities and networks; ` +
		`the newest allow nobody: AuthorizationPolicy `
	if diff := cmp.Diff(newest+"\n"+crowded+`a"`, reported()); diff != "" {
		t.Errorf("statuses (-want +got):\n%s", diff)
	}
	s.Apply(Event{Object: policy("all", 1, "Namespace")})
	if got := active(); got != "all c d e" {
		t.Errorf("an older one for the namespace: %q are active", got)
	}
	if got := reported(); strings.Count(got, newest) != 1 || !strings.Contains(got, crowded+`a; AuthorizationPolicy b"`) {
		t.Errorf("an older one for the namespace: reported %s", got)
	}
	s.Apply(Event{Object: policy("d", 0, "Server"), Deleted: true})
	s.Apply(Event{Object: policy("c", 0, "Server"), Deleted: true})
	if got := active() + reported(); got != "a all b e" || len(s.access.excess) > 0 {
		t.Errorf("two have gone: got %q", got)
	}
	s.Apply(Event{Object: policy("c", 0, "Server")})
	s.Outcomes()
	s.Apply(Event{Object: &v1alpha1.Server{ObjectMeta: at("web", 0)}, Deleted: true})
	if got := reported(); got != "" || len(s.access.excess) > 0 {
		t.Errorf("the Server has gone: reported %s", got)
	}
}
