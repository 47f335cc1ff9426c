package install

import (
	"maps"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tulle-mesh/tulle/internal/rbactest"
)

func TestRightsAreTheDocumentedOnes(t *testing.T) {
	documented, rules := rbactest.Documented(t, "../../docs/rbac.md"), map[string][]string{}
	for _, account := range []string{"tulle-viz-metrics-api", "tulle-viz-tap", "linkerd-linkerd-viz-tap-admin",
		"tulle-viz-prometheus", "tulle-viz-web"} {
		maps.Copy(rules, documented[account])
	}
	granted := rbactest.Granted(decodeStrict(t, render(t, build(t, variants["web"]))))
	if diff := cmp.Diff(rules, granted); diff != "" {
		t.Errorf("the manifests grant other rights than docs/rbac.md says (-documented +granted):\n%s", diff)
	}
}
