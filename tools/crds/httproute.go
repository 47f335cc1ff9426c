package main

import (
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// httpRoute returns the definition of the HTTPRoute of policy.linkerd.io. It is the Gateway API's under another group:
// without what the mesh does not do, with the defaults that Linkerd gives to parents, and with what can be said about
// parents and regular expressions because the group is the mesh's own.
func httpRoute(gateway *gatewayAPI) *apiextensionsv1.CustomResourceDefinition {
	version := *gateway.httpRoute.DeepCopy()
	version.Subresources = &apiextensionsv1.CustomResourceSubresources{
		Status: &apiextensionsv1.CustomResourceSubresourceStatus{}}
	root := version.Schema.OpenAPIV3Schema
	visit(root, func(s *schema) {
		delete(s.Properties, "externalAuth")
		delete(s.Properties, "sessionPersistence")
		s.Enum = slices.DeleteFunc(s.Enum, func(v apiextensionsv1.JSON) bool { return string(v.Raw) == `"ExternalAuth"` })
		s.XValidations = slices.DeleteFunc(s.XValidations, func(r apiextensionsv1.ValidationRule) bool {
			return strings.Contains(r.Rule, "externalAuth") || strings.Contains(r.Rule, "sessionPersistence")
		})
		for i := range s.XValidations {
			if s.XValidations[i].Message == "Must have port for Service reference" {
				s.XValidations[i] = must("!(self.group in ['', 'core'] && self.kind == 'Service') || has(self.port)",
					"a Service has many ports: add the port to send to")
			}
		}
	})
	editAt(root, []string{"spec", "parentRefs", "[]"}, func(s *schema) {
		defaultParent(s)
		restrictParent(s)
	})
	editAt(root, []string{"status", "parents", "[]", "parentRef"}, defaultParent)
	editAt(root, []string{"spec", "rules", "[]", "matches", "[]", "path"}, compileRegex)
	return &apiextensionsv1.CustomResourceDefinition{
		TypeMeta: metav1.TypeMeta{APIVersion: apiextensionsv1.SchemeGroupVersion.String(), Kind: "CustomResourceDefinition"},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Names: apiextensionsv1.CustomResourceDefinitionNames{
				Kind: "HTTPRoute", ListKind: "HTTPRouteList", Plural: "httproutes", Singular: "httproute",
			},
			Scope:    apiextensionsv1.NamespaceScoped,
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{version},
		},
	}
}

func defaultParent(s *schema) {
	group, kind := s.Properties["group"], s.Properties["kind"]
	group.Default, kind.Default = jsonOf(policyGroup), jsonOf("Server")
	s.Properties["group"], s.Properties["kind"] = group, kind
}

// restrictParent says what a parent may be. Gateways are let pass, since Linkerd's default is one: their routes are not
// the mesh's.
func restrictParent(s *schema) {
	s.XValidations = append(s.XValidations,
		must("self.kind != 'Service' || self.group in ['', 'core']", "a Service is in the core group: add group: core"),
		must("!(self.kind in ['Server', 'EgressNetwork']) || self.group == 'policy.linkerd.io'",
			"a Server or EgressNetwork is in the group policy.linkerd.io: remove group"),
		must("self.kind in ['Service', 'Server', 'EgressNetwork', 'Gateway']",
			"want kind Server, for requests that come in, or kind Service with group core, for requests that go out"),
		must("self.kind != 'EgressNetwork' || has(self.port)",
			"an EgressNetwork is all ports: add the port that the route is for"))
}

// compileRegex refuses what does not compile. It compares, because || would hide the error that matches gives. For
// headers and query parameters an admission policy does the same: there may be so many that a rule here could cost more
// than the API server allows.
func compileRegex(s *schema) {
	s.XValidations = append(s.XValidations, must(
		"self.type != 'RegularExpression' || '/'.matches(self.value) in [true, false]",
		"want a regular expression of the RE2 syntax, such as /users/[^/]*"))
}
