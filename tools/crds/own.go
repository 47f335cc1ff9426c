package main

import (
	"fmt"
	"strings"

	"golang.org/x/tools/go/packages"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	runtimeschema "k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-tools/pkg/crd"
	crdmarkers "sigs.k8s.io/controller-tools/pkg/crd/markers"
	"sigs.k8s.io/controller-tools/pkg/loader"
	"sigs.k8s.io/controller-tools/pkg/markers"
)

// The groups of the mesh's kinds. The Go types are in a package of one group, as controller-gen wants it.
const (
	profileGroup = "linkerd.io"
	policyGroup  = "policy.linkerd.io"
)

// ownKinds are the mesh's kinds: their versions, oldest first, and how many of them are deprecated. The last version is
// stored.
var ownKinds = []struct {
	group, kind string
	versions    []string
	deprecated  int
}{
	{profileGroup, "ServiceProfile", []string{"v1alpha1", "v1alpha2"}, 0},
	{policyGroup, "AuthorizationPolicy", []string{"v1alpha1"}, 0},
	{policyGroup, "HTTPLocalRateLimitPolicy", []string{"v1alpha1"}, 0},
	{policyGroup, "HTTPRoute", []string{"v1alpha1", "v1beta1", "v1beta2", "v1beta3"}, 0},
	{policyGroup, "MeshTLSAuthentication", []string{"v1alpha1"}, 0},
	{policyGroup, "NetworkAuthentication", []string{"v1alpha1"}, 0},
	{policyGroup, "ServerAuthorization", []string{"v1alpha1", "v1beta1"}, 1},
	{policyGroup, "Server", []string{"v1alpha1", "v1beta1", "v1beta2", "v1beta3"}, 1},
}

// generateOwn returns the definitions of the mesh's kinds.
func generateOwn(root string, gateway *gatewayAPI) ([]*apiextensionsv1.CustomResourceDefinition, error) {
	parser, err := parseTypes(root)
	if err != nil {
		return nil, err
	}
	var out []*apiextensionsv1.CustomResourceDefinition
	for _, k := range ownKinds {
		var d *apiextensionsv1.CustomResourceDefinition
		if k.kind == "HTTPRoute" {
			d = httpRoute(gateway)
		} else if d, err = fromTypes(parser, k.kind); err != nil {
			return nil, err
		}
		d.Name = d.Spec.Names.Plural + "." + k.group
		d.Spec.Group = k.group
		shape := d.Spec.Versions[0]
		if k.kind == "ServiceProfile" {
			nestConditions(shape.Schema.OpenAPIV3Schema)
			editAt(shape.Schema.OpenAPIV3Schema, []string{"spec", "dstOverrides", "[]", "weight"}, refuseNegative)
		}
		d.Spec.Versions = nil
		for i, name := range k.versions {
			v := *shape.DeepCopy()
			v.Name, v.Served, v.Storage = name, true, i == len(k.versions)-1
			v.Deprecated = i < k.deprecated
			d.Spec.Versions = append(d.Spec.Versions, v)
		}
		out = append(out, d)
	}
	return out, nil
}

// parseTypes reads the Go types with controller-gen's parser.
func parseTypes(root string) (*crd.Parser, error) {
	pkgs, err := loader.LoadRootsWithConfig(&packages.Config{Dir: root}, "./crds/v1alpha1")
	if err != nil {
		return nil, fmt.Errorf("load the types: %w", err)
	}
	registry := &markers.Registry{}
	if err := crdmarkers.Register(registry); err != nil {
		return nil, err
	}
	parser := &crd.Parser{
		Collector:           &markers.Collector{Registry: registry},
		Checker:             &loader.TypeChecker{},
		AllowDangerousTypes: true, // floats: a ratio and a rate are
	}
	crd.AddKnownTypes(parser)
	parser.NeedPackage(pkgs[0])
	if loader.PrintErrors(pkgs, packages.TypeError) {
		return nil, fmt.Errorf("the types of %s have errors", pkgs[0].PkgPath)
	}
	return parser, nil
}

// fromTypes returns the definition of a kind with its one version.
func fromTypes(parser *crd.Parser, kind string) (*apiextensionsv1.CustomResourceDefinition, error) {
	noDescriptions := 0
	gk := runtimeschema.GroupKind{Group: policyGroup, Kind: kind}
	parser.NeedCRDFor(gk, &noDescriptions)
	d, ok := parser.CustomResourceDefinitions[gk]
	if !ok || len(d.Spec.Versions) != 1 {
		return nil, fmt.Errorf("no types for kind %s", kind)
	}
	crd.FixTopLevelMetadata(d)
	return &d, nil
}

// conditionDepth is how deep the conditions of a ServiceProfile are written out. Below, anything is accepted, and the
// controller says what it makes of it. Rules hold for the outermost alone: on all levels they would cost more than the
// API server allows.
const conditionDepth = 2

// nestConditions writes out the conditions of a ServiceProfile, which hold conditions: a schema cannot refer to itself.
func nestConditions(root *schema) {
	route := []string{"spec", "routes", "[]"}
	for _, path := range [][]string{append(route, "condition"), append(route, "responseClasses", "[]", "condition")} {
		editAt(root, path, func(s *schema) {
			inner := s.DeepCopy()
			visit(inner, func(s *schema) { s.XValidations = nil })
			one := int64(1)
			inner.MinProperties = &one
			*s = nest(*s, *inner, conditionDepth)
		})
	}
}

func nest(s, inner schema, depth int) schema {
	s = *s.DeepCopy()
	below := anything()
	if depth > 0 {
		below = nest(inner, inner, depth-1)
	}
	many := int64(16)
	list := schema{Type: "array", MaxItems: &many, Items: &apiextensionsv1.JSONSchemaPropsOrArray{Schema: &below}}
	s.Properties["all"], s.Properties["any"], s.Properties["not"] = list, list, below
	return s
}

// anything is the schema of an object about which nothing is said.
func anything() schema {
	keep := true
	return schema{Type: "object", XPreserveUnknownFields: &keep}
}

// refuseNegative takes the sign from a quantity, for which controller-gen has no marker.
func refuseNegative(s *schema) {
	zero := 0.0
	s.Minimum = &zero
	s.Pattern = strings.Replace(s.Pattern, `^(\+|-)?`, `^\+?`, 1)
}
