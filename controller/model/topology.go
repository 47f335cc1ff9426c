package model

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/tulle-mesh/tulle/controller/compile"
)

// dependsOnNode reports whether the Service's endpoints depend on the client's node and not on its zone alone.
func (s *Store) dependsOnNode(svc *compile.Service) bool {
	if svc.LocalOnly || svc.Distribution == corev1.ServiceTrafficDistributionPreferSameNode {
		return true
	}
	return slices.ContainsFunc(s.slicesByService[svc.NamespacedName],
		func(sl *compile.EndpointSlice) bool { return sl.NodeHints })
}

// usable returns the candidates that may get traffic, as kube-proxy chooses them (KEP-1669): those on the client's node
// if the Service's internalTrafficPolicy is Local; of these the ready ones; if there are none, those that end but still
// serve.
func (r *resolver) usable(svc *compile.Service, all []candidate) []candidate {
	if svc.LocalOnly {
		all = filter(all, func(c candidate) bool { return c.Node == r.q.Node })
	}
	ready := filter(all, func(c candidate) bool {
		return c.Conditions.Ready || svc.PublishNotReady && !c.Conditions.Terminating
	})
	if len(ready) > 0 {
		return ready
	}
	return filter(all, func(c candidate) bool { return c.Conditions.Serving && c.Conditions.Terminating })
}

// near returns the candidates that the client should prefer: by node, then by zone, else all. Hints count when every
// candidate has them (KEP-2433); without hints a trafficDistribution is followed by the endpoints' own places
// (KEP-3015, KEP-4444).
func (r *resolver) near(svc *compile.Service, all []candidate) []candidate {
	if svc.LocalOnly || len(all) == 0 {
		return all
	}
	node, zone := placesOf(svc, all)
	if node != nil && r.q.Node != "" {
		if same := filter(all, func(c candidate) bool { return slices.Contains(node(c), r.q.Node) }); len(same) > 0 {
			return same
		}
	}
	if zone != nil && r.q.Zone != "" {
		if same := filter(all, func(c candidate) bool { return slices.Contains(zone(c), r.q.Zone) }); len(same) > 0 {
			return same
		}
	}
	return all
}

// placesOf returns the functions that say for which nodes and zones a candidate is; nil where nothing says so.
func placesOf(svc *compile.Service, all []candidate) (node, zone func(candidate) []string) {
	if !slices.ContainsFunc(all, func(c candidate) bool { return len(c.ForNodes) == 0 }) {
		node = func(c candidate) []string { return c.ForNodes }
	}
	if !slices.ContainsFunc(all, func(c candidate) bool { return len(c.ForZones) == 0 }) {
		zone = func(c candidate) []string { return c.ForZones }
	}
	if node != nil || zone != nil {
		return node, zone
	}
	switch svc.Distribution {
	case corev1.ServiceTrafficDistributionPreferSameNode:
		node = func(c candidate) []string { return []string{c.Node} }
		zone = func(c candidate) []string { return []string{c.Zone} }
	case corev1.ServiceTrafficDistributionPreferSameZone, corev1.ServiceTrafficDistributionPreferClose:
		zone = func(c candidate) []string { return []string{c.Zone} }
	}
	return node, zone
}

func filter(all []candidate, match func(candidate) bool) []candidate {
	var out []candidate
	for _, c := range all {
		if match(c) {
			out = append(out, c)
		}
	}
	return out
}
