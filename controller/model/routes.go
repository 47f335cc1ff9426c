package model

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/controller/compile"
)

func (s *Store) applyHTTPRoute(kind compile.RouteKind, o metav1.Object, spec *gatewayv1.HTTPRouteSpec, e Event) Change {
	key := objectKey{kind.Group, kind.Kind, compile.NameOf(o)}
	if e.Deleted {
		return s.applyRoute(key, nil)
	}
	return s.applyRoute(key, newRoute(kind, o, compile.ParseHTTPRoute(kind, o.GetNamespace(), spec), e, s.routes[key]))
}

func (s *Store) applyGRPCRoute(o *gatewayv1.GRPCRoute, e Event) Change {
	key := objectKey{compile.KindGRPCRoute.Group, compile.KindGRPCRoute.Kind, compile.NameOf(o)}
	if e.Deleted {
		return s.applyRoute(key, nil)
	}
	return s.applyRoute(key, newRoute(compile.KindGRPCRoute, o, compile.ParseGRPCRoute(o.Namespace, &o.Spec), e,
		s.routes[key]))
}

func (s *Store) applyTLSRoute(o *gatewayv1.TLSRoute, e Event) Change {
	key := objectKey{compile.KindTLSRoute.Group, compile.KindTLSRoute.Kind, compile.NameOf(o)}
	if e.Deleted {
		return s.applyRoute(key, nil)
	}
	rules := make([][]gatewayv1.BackendRef, len(o.Spec.Rules))
	for i := range o.Spec.Rules {
		rules[i] = o.Spec.Rules[i].BackendRefs
	}
	latest := compile.ParseStreamRoute(compile.KindTLSRoute, o.Namespace, o.Spec.ParentRefs, rules)
	for _, h := range o.Spec.Hostnames {
		latest.Hostnames = append(latest.Hostnames, string(h))
	}
	return s.applyRoute(key, newRoute(compile.KindTLSRoute, o, latest, e, s.routes[key]))
}

func (s *Store) applyTCPRoute(o *gatewayv1.TCPRoute, e Event) Change {
	key := objectKey{compile.KindTCPRoute.Group, compile.KindTCPRoute.Kind, compile.NameOf(o)}
	if e.Deleted {
		return s.applyRoute(key, nil)
	}
	rules := make([][]gatewayv1.BackendRef, len(o.Spec.Rules))
	for i := range o.Spec.Rules {
		rules[i] = o.Spec.Rules[i].BackendRefs
	}
	return s.applyRoute(key, newRoute(compile.KindTCPRoute, o,
		compile.ParseStreamRoute(compile.KindTCPRoute, o.Namespace, o.Spec.ParentRefs, rules), e, s.routes[key]))
}
