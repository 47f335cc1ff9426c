package board

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/crds/v1alpha1"
	"github.com/tulle-mesh/tulle/viz/spectext"
)

// describeRoute adds the parents, the backends and the matches of a route of any kind.
func describeRoute(o *PolicyObject, typed metav1.Object) {
	switch t := typed.(type) {
	case *gatewayv1.HTTPRoute:
		o.describeHTTPRoute(gatewayv1.GroupName, "Gateway", t.Spec)
	case *v1alpha1.HTTPRoute:
		o.describeHTTPRoute(v1alpha1.PolicyGroup, "Server", t.Spec)
	case *gatewayv1.GRPCRoute:
		o.addParents(gatewayv1.GroupName, "Gateway", t.Spec.ParentRefs)
		o.addHostnames(t.Spec.Hostnames)
		var matches []string
		for _, rule := range t.Spec.Rules {
			for _, m := range rule.Matches {
				matches = append(matches, spectext.GRPCMatch(m))
			}
			for _, b := range rule.BackendRefs {
				o.addBackend(b.BackendRef)
			}
		}
		o.addRules(len(t.Spec.Rules), matches)
	case *gatewayv1.TLSRoute:
		o.addParents(gatewayv1.GroupName, "Gateway", t.Spec.ParentRefs)
		o.addHostnames(t.Spec.Hostnames)
		for _, rule := range t.Spec.Rules {
			for _, b := range rule.BackendRefs {
				o.addBackend(b)
			}
		}
	case *gatewayv1.TCPRoute:
		o.addParents(gatewayv1.GroupName, "Gateway", t.Spec.ParentRefs)
		for _, rule := range t.Spec.Rules {
			for _, b := range rule.BackendRefs {
				o.addBackend(b)
			}
		}
	}
}

func (o *PolicyObject) describeHTTPRoute(group, kind string, spec gatewayv1.HTTPRouteSpec) {
	o.addParents(group, kind, spec.ParentRefs)
	o.addHostnames(spec.Hostnames)
	var matches []string
	for _, rule := range spec.Rules {
		for _, m := range rule.Matches {
			matches = append(matches, spectext.HTTPMatch(m))
		}
		for _, b := range rule.BackendRefs {
			o.addBackend(b.BackendRef)
		}
	}
	o.addRules(len(spec.Rules), matches)
}

// addParents adds links to the parents of a route. group and kind are the defaults of a reference.
func (o *PolicyObject) addParents(group, kind string, refs []gatewayv1.ParentReference) {
	for _, r := range refs {
		l := o.addLink(RoleParent, spectext.Or(r.Group, group), spectext.Or(r.Kind, kind),
			spectext.Or(r.Namespace, o.Namespace), string(r.Name))
		if r.Port != nil {
			l.Port = fmt.Sprint(*r.Port)
		}
	}
}

func (o *PolicyObject) addBackend(r gatewayv1.BackendRef) {
	l := o.addLink(RoleBackend, spectext.Or(r.Group, ""), spectext.Or(r.Kind, "Service"),
		spectext.Or(r.Namespace, o.Namespace), string(r.Name))
	if r.Port != nil {
		l.Port = fmt.Sprint(*r.Port)
	}
	if r.Weight != nil {
		l.Detail = fmt.Sprintf("weight %d", *r.Weight)
	}
}

func (o *PolicyObject) addHostnames(names []gatewayv1.Hostname) {
	texts := make([]string, len(names))
	for i, n := range names {
		texts[i] = string(n)
	}
	o.addFact("Hostnames", texts...)
}

func (o *PolicyObject) addRules(n int, matches []string) {
	o.addFact("Rules", fmt.Sprint(n))
	if len(matches) == 0 {
		matches = []string{"every request"}
	}
	o.addFact("Matches", matches...)
}
