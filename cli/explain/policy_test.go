package explain

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tulle-mesh/tulle/mesh"
)

func TestBackendsOfARoute(t *testing.T) {
	service := mesh.ServiceRef{Namespace: "shop", Name: "api", Port: 80}
	other := mesh.ServiceRef{Namespace: "shop", Name: "v2", Port: 80}
	to := func(b mesh.WeightedBackend) []mesh.WeightedBackend { return []mesh.WeightedBackend{b} }
	for name, test := range map[string]struct {
		rules []mesh.Rule
		want  []mesh.ServiceRef
	}{
		"without backends": {[]mesh.Rule{{}}, []mesh.ServiceRef{service}},
		"with a backend": {[]mesh.Rule{{Backends: to(mesh.WeightedBackend{Service: other, Weight: 1})}},
			[]mesh.ServiceRef{other}},
		"without weight":        {[]mesh.Rule{{Backends: to(mesh.WeightedBackend{Service: other})}}, nil},
		"that does not resolve": {[]mesh.Rule{{Backends: to(mesh.WeightedBackend{Weight: 1, Invalid: "no Service"})}}, nil},
		"of two rules": {[]mesh.Rule{{}, {Backends: to(mesh.WeightedBackend{Service: other, Weight: 1})}},
			[]mesh.ServiceRef{service, other}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, backendsOf(mesh.Route{Rules: test.rules}, service)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
