package analyze

import (
	"fmt"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// worldOf returns a world of manifests that are separated by "---".
func worldOf(t *testing.T, manifests string) *World {
	t.Helper()
	var trees []map[string]any
	for _, doc := range strings.Split(manifests, "\n---\n") {
		var tree map[string]any
		if err := yaml.Unmarshal([]byte(doc), &tree); err != nil {
			t.Fatalf("%v in\n%s", err, doc)
		}
		if tree != nil {
			trees = append(trees, tree)
		}
	}
	return NewWorld(trees, "shop")
}

// found returns the objects and messages of the findings with a code.
func found(w *World, code string) (out []string) {
	for _, f := range w.Analyze() {
		if f.Code == code {
			out = append(out, f.Object+": "+f.Message)
		}
	}
	return out
}

func TestExactGuards(t *testing.T) {
	route := func(name, server, matches string, requires ...string) string {
		out := fmt.Sprintf("apiVersion: policy.linkerd.io/v1beta3\nkind: HTTPRoute\nmetadata: {name: %s}\n"+
			"spec: {parentRefs: [{group: policy.linkerd.io, kind: Server, name: %s}], rules: [%s]}\n---\n", name, server,
			matches)
		for i, refs := range requires {
			out += fmt.Sprintf("apiVersion: policy.linkerd.io/v1alpha1\nkind: AuthorizationPolicy\nmetadata: {name: %s-%d}\n"+
				"spec: {targetRef: {group: policy.linkerd.io, kind: HTTPRoute, name: %[1]s}, requiredAuthenticationRefs: "+
				"[%[3]s]}\n---\n", name, i, refs)
		}
		return out
	}
	const (
		web  = "{group: policy.linkerd.io, kind: MeshTLSAuthentication, name: web}"
		all  = "{group: policy.linkerd.io, kind: NetworkAuthentication, name: all}"
		open = ""
	)
	exact, prefix := "{matches: [{path: {type: Exact, value: %s}}]}", "{matches: [{path: {type: PathPrefix, value: %s}}]}"
	server := "apiVersion: policy.linkerd.io/v1beta3\nkind: Server\nmetadata: {name: cart}\nspec: {podSelector: {}, " +
		"port: 80}\n---\n"
	guard := route("admin", "cart", fmt.Sprintf(exact, "/admin"), web)
	for name, tc := range map[string]struct {
		manifests string
		want      bool
	}{
		"beside everything, open":          {guard + route("rest", "cart", fmt.Sprintf(prefix, "/"), open), true},
		"beside everything, to networks":   {guard + route("rest", "cart", fmt.Sprintf(prefix, "/"), all), true},
		"beside a rule without matches":    {guard + route("rest", "cart", "{}", all), true},
		"beside a match of a method":       {guard + route("rest", "cart", "{matches: [{method: GET}]}", all), true},
		"beside a prefix that is the path": {guard + route("rest", "cart", fmt.Sprintf(prefix, "/admin"), all), true},
		"a guard of a longer path": {route("users", "cart", fmt.Sprintf(exact, "/admin/users"), web) +
			route("rest", "cart", fmt.Sprintf(prefix, "/admin/"), all), true},
		"a guard that the Server lets in": {route("admin", "cart", fmt.Sprintf(exact, "/admin")) +
			route("rest", "cart", "{}", open), true},
		"beside the same clients":           {guard + route("rest", "cart", fmt.Sprintf(prefix, "/"), web), false},
		"beside a closed prefix":            {guard + route("rest", "cart", fmt.Sprintf(prefix, "/")), false},
		"beside another prefix":             {guard + route("rest", "cart", fmt.Sprintf(prefix, "/public"), all), false},
		"beside a prefix that begins alike": {guard + route("rest", "cart", fmt.Sprintf(prefix, "/adm"), all), false},
		"beside a route of another Server":  {guard + route("rest", "other", fmt.Sprintf(prefix, "/"), all), false},
		"beside another Exact path":         {guard + route("rest", "cart", fmt.Sprintf(exact, "/"), all), false},
		"on the prefix": {route("admin", "cart", fmt.Sprintf(prefix, "/admin"), web) +
			route("rest", "cart", "{}", all), false},
		"no guard: everybody is let in there": {route("admin", "cart", fmt.Sprintf(exact, "/admin"), open) +
			route("rest", "cart", "{}", all), false},
	} {
		got := found(worldOf(t, server+tc.manifests), "ExactGuard")
		if (len(got) == 1) != tc.want || len(got) > 1 {
			t.Errorf("%s: got %q, want one: %t", name, got, tc.want)
		}
	}
}
