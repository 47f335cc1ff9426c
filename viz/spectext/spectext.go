// Package spectext writes values of specs of the Gateway API and of policies as text for people.
//
// It owns how a match, a reference, a selector or a limit reads. It does not know what a page shows. The one idea: a
// function returns the text that an author of the object recognizes.
package spectext

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/crds/v1alpha1"
)

// HTTPMatch writes a match, as in GET /books/* header x-test.
func HTTPMatch(m gatewayv1.HTTPRouteMatch) string {
	var parts []string
	if m.Method != nil {
		parts = append(parts, string(*m.Method))
	}
	path, kind := "/", gatewayv1.PathMatchPathPrefix
	if m.Path != nil {
		path = Or(m.Path.Value, path)
		if m.Path.Type != nil {
			kind = *m.Path.Type
		}
	}
	switch kind {
	case gatewayv1.PathMatchPathPrefix:
		path = strings.TrimSuffix(path, "/") + "/*"
	case gatewayv1.PathMatchRegularExpression:
		path = "~ " + path
	}
	parts = append(parts, path)
	for _, h := range m.Headers {
		parts = append(parts, "header "+string(h.Name))
	}
	for _, q := range m.QueryParams {
		parts = append(parts, "query "+string(q.Name))
	}
	return strings.Join(parts, " ")
}

// GRPCMatch writes a match, as in books.Catalog/List.
func GRPCMatch(m gatewayv1.GRPCRouteMatch) string {
	var parts []string
	if m.Method != nil {
		parts = append(parts, Or(m.Method.Service, "*")+"/"+Or(m.Method.Method, "*"))
	}
	for _, h := range m.Headers {
		parts = append(parts, "header "+string(h.Name))
	}
	if len(parts) == 0 {
		return "every call"
	}
	return strings.Join(parts, " ")
}

// Parent writes a parent of a route, as in Service/web:8080.
func Parent(r gatewayv1.ParentReference) string {
	text := Or(r.Kind, "Gateway") + "/" + string(r.Name)
	if r.Port != nil {
		text += fmt.Sprintf(":%d", *r.Port)
	}
	if r.SectionName != nil {
		text += fmt.Sprintf(" (%s)", *r.SectionName)
	}
	return text
}

// Selector writes a label selector as kubectl does; "any labels" for an empty one, which selects all objects.
func Selector(s *metav1.LabelSelector) string {
	if len(s.MatchLabels)+len(s.MatchExpressions) == 0 {
		return "any labels"
	}
	return metav1.FormatLabelSelector(s)
}

// IdentityRef writes a reference of a MeshTLSAuthentication in the namespace own.
func IdentityRef(r v1alpha1.IdentityRef, own string) string {
	switch {
	case r.Kind == "Namespace":
		return "every ServiceAccount of namespace " + cmp.Or(r.Name, own)
	case r.Name == "":
		return "every ServiceAccount of namespace " + cmp.Or(r.Namespace, own)
	}
	return r.Kind + " " + r.Name + "." + cmp.Or(r.Namespace, own)
}

// Networks writes each network as its CIDR with the exceptions.
func Networks(networks []v1alpha1.Network) (out []string) {
	for _, n := range networks {
		text := n.CIDR
		if len(n.Except) > 0 {
			text += " without " + strings.Join(n.Except, ", ")
		}
		out = append(out, text)
	}
	return out
}

// RateLimit writes a limit; "" for nil.
func RateLimit(l *v1alpha1.RateLimit) string {
	if l == nil {
		return ""
	}
	return strconv.FormatFloat(l.RequestsPerSecond, 'g', -1, 64) + " requests a second"
}

// Or returns an optional value of a spec, or its default if it is nil.
func Or[T ~string](p *T, otherwise string) string {
	if p == nil {
		return otherwise
	}
	return string(*p)
}
