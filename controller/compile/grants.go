package compile

import (
	"slices"

	"k8s.io/apimachinery/pkg/types"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// Grant is the record of a ReferenceGrant, as far as it is about Services.
type Grant struct {
	types.NamespacedName
	from []grantee
	// services that may be referred to; nil for all of the namespace.
	services []string
}

// grantee is the kind and namespace of those who may refer.
type grantee struct {
	kind      RouteKind
	namespace string
}

// ParseReferenceGrant returns nil for a grant of something else than Services.
func ParseReferenceGrant(o *gatewayv1.ReferenceGrant) *Grant {
	g := &Grant{NamespacedName: NameOf(o)}
	all, some := false, false
	for _, to := range o.Spec.To {
		switch {
		case !isCore(string(to.Group)) || to.Kind != "Service":
		case to.Name == nil || *to.Name == "":
			all = true
		default:
			some = true
			g.services = append(g.services, string(*to.Name))
		}
	}
	if all {
		g.services = nil
	} else if !some {
		return nil
	}
	for _, from := range o.Spec.From {
		g.from = append(g.from, grantee{RouteKind{string(from.Group), string(from.Kind)}, string(from.Namespace)})
	}
	return g
}

// Allows reports whether routes of the kind in the namespace may refer to the Service.
func (g *Grant) Allows(kind RouteKind, namespace, service string) bool {
	return slices.Contains(g.from, grantee{kind, namespace}) && (g.services == nil || slices.Contains(g.services, service))
}
