package manifests

import (
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tulle-mesh/tulle/internal/rbactest"
)

// The rights of the viz extension are compared in viz/install.
func TestRightsAreTheDocumentedOnes(t *testing.T) {
	documented, rules := rbactest.Documented(t, "../../docs/rbac.md"), map[string][]string{}
	for _, account := range []string{"tulle-identity", "tulle-destination", "tulle-proxy-injector"} {
		maps.Copy(rules, documented[account])
		delete(documented, account)
	}
	granted := rbactest.Granted(decodeStrict(t, render(t, build(t, variants["default"]))))
	if diff := cmp.Diff(rules, granted); diff != "" {
		t.Errorf("the manifests grant other rights than docs/rbac.md says (-documented +granted):\n%s", diff)
	}
	others := slices.Sorted(maps.Keys(documented))
	viz := []string{"linkerd-linkerd-viz-tap-admin", "tulle-viz-metrics-api", "tulle-viz-prometheus", "tulle-viz-tap",
		"tulle-viz-web"}
	if diff := cmp.Diff(viz, others); diff != "" {
		t.Errorf("docs/rbac.md has other sections (-want +got):\n%s", diff)
	}
}
