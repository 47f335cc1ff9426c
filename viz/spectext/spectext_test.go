package spectext

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/crds/v1alpha1"
)

func TestTexts(t *testing.T) {
	get, exact := gatewayv1.HTTPMethodGet, gatewayv1.PathMatchExact
	books, list, server := "/books/", "List", gatewayv1.Kind("Server")
	for name, tt := range map[string]struct{ got, want string }{
		"a match without a path is of every path": {HTTPMatch(gatewayv1.HTTPRouteMatch{}), "/*"},
		"a prefix ends in a star": {HTTPMatch(gatewayv1.HTTPRouteMatch{Method: &get,
			Path: &gatewayv1.HTTPPathMatch{Value: &books}}), "GET /books/*"},
		"an exact path does not": {HTTPMatch(gatewayv1.HTTPRouteMatch{
			Path:    &gatewayv1.HTTPPathMatch{Type: &exact, Value: &books},
			Headers: []gatewayv1.HTTPHeaderMatch{{Name: "x-test"}}}), "/books/ header x-test"},
		"a gRPC match without a method": {GRPCMatch(gatewayv1.GRPCRouteMatch{}), "every call"},
		"a gRPC match without a service": {GRPCMatch(gatewayv1.GRPCRouteMatch{
			Method: &gatewayv1.GRPCMethodMatch{Method: &list}}), "*/List"},
		"a parent without a kind": {Parent(gatewayv1.ParentReference{Name: "web"}), "Gateway/web"},
		"a parent with a kind":    {Parent(gatewayv1.ParentReference{Kind: &server, Name: "web"}), "Server/web"},
		"an empty selector":       {Selector(&metav1.LabelSelector{}), "any labels"},
		"a selector": {Selector(&metav1.LabelSelector{
			MatchLabels: map[string]string{"app": "web"}}), "app=web"},
		"an identity of its own namespace": {IdentityRef(v1alpha1.IdentityRef{Kind: "ServiceAccount", Name: "web"}, "shop"),
			"ServiceAccount web.shop"},
		"all identities of a namespace": {IdentityRef(v1alpha1.IdentityRef{Kind: "Namespace"}, "shop"),
			"every ServiceAccount of namespace shop"},
		"a network with exceptions": {Networks([]v1alpha1.Network{{CIDR: "10.0.0.0/8", Except: []string{"10.1.0.0/16"}}})[0],
			"10.0.0.0/8 without 10.1.0.0/16"},
		"no limit": {RateLimit(nil), ""},
		"a limit":  {RateLimit(&v1alpha1.RateLimit{RequestsPerSecond: 2.5}), "2.5 requests a second"},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: got %q, want %q", name, tt.got, tt.want)
		}
	}
}
