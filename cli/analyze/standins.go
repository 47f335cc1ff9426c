package analyze

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/tulle-mesh/tulle/crds/v1alpha1"
)

// standIns returns Services and Servers in place of the parents that files alone do not hold. The controller judges a
// route or a profile only at a parent that exists, and these parents may well exist in the cluster. No finding is about
// a stand-in itself.
func (w *World) standIns() []metav1.Object {
	services, servers := map[name][]reference{}, map[name]bool{}
	w.eachRoute(func(o *object, r routeSpec) {
		for _, p := range r.ParentRefs {
			p = p.withDefaults(o)
			parent := name{p.Kind, p.in(o.namespace), p.Name}
			switch {
			case w.byName[parent] != nil:
			case p.isService():
				services[parent] = append(services[parent], p)
			case p.Kind == "Server" && p.Group != nil && *p.Group == v1alpha1.PolicyGroup:
				servers[parent] = true
			}
		}
	})
	w.each("ServiceProfile", func(o *object) {
		service, namespace, ok := profileService(o.name.name)
		if parent := (name{"Service", namespace, service}); ok && w.byName[parent] == nil {
			services[parent] = append(services[parent], reference{})
		}
	})
	var out []metav1.Object
	for _, parent := range slices.SortedFunc(maps.Keys(services), compareNames) {
		out = append(out, &corev1.Service{ObjectMeta: w.standInMeta(parent), Spec: corev1.ServiceSpec{
			ClusterIP: unusedAddress(len(w.objects) + len(out)), Ports: standInPorts(services[parent]),
		}})
	}
	for _, parent := range slices.SortedFunc(maps.Keys(servers), compareNames) {
		// Nobody else has such a selector with the same port, so that it takes the place of no other Server.
		selector := &metav1.LabelSelector{MatchLabels: map[string]string{"tulle.dev/stand-in": "only"}}
		out = append(out, &v1alpha1.Server{ObjectMeta: w.standInMeta(parent),
			Spec: v1alpha1.ServerSpec{PodSelector: selector, Port: intstr.FromInt32(int32(len(out) + 1))}})
	}
	return out
}

// withDefaults fills in what a parentRef leaves out. The Gateway API's routes mean a Gateway, and those of
// policy.linkerd.io a Server.
func (r reference) withDefaults(route *object) reference {
	kind := "Gateway"
	if route.group == v1alpha1.PolicyGroup {
		kind = "Server"
	}
	r.Kind = cmp.Or(r.Kind, kind)
	if r.Group == nil {
		r.Group = &route.group
	}
	return r
}

func (w *World) standInMeta(parent name) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: parent.namespace, Name: parent.name, CreationTimestamp: metav1.NewTime(w.Now)}
}

func compareNames(a, b name) int {
	return cmp.Or(cmp.Compare(a.namespace, b.namespace), cmp.Compare(a.name, b.name))
}

// standInPorts returns the ports that references to one Service name. A reference to the whole Service adds a port that
// no other names: the real Service may have one, and a route that loses one port may be active there.
func standInPorts(refs []reference) []corev1.ServicePort {
	numbers := map[int32]string{} // with their names
	for _, r := range refs {
		if port := int32(r.Port); port != 0 && numbers[port] == "" {
			numbers[port] = r.SectionName
		}
	}
	named := slices.Collect(maps.Values(numbers))
	next := int32(1)
	add := func(portName string) {
		for ; ; next++ {
			if _, used := numbers[next]; !used {
				numbers[next] = portName
				return
			}
		}
	}
	whole := false
	for _, r := range refs {
		whole = whole || r.Port == 0 && r.SectionName == ""
		if r.Port == 0 && r.SectionName != "" && !slices.Contains(named, r.SectionName) {
			named = append(named, r.SectionName)
			add(r.SectionName)
		}
	}
	if whole {
		add("")
	}
	var ports []corev1.ServicePort
	for _, number := range slices.Sorted(maps.Keys(numbers)) {
		ports = append(ports, corev1.ServicePort{Name: numbers[number], Port: number, Protocol: corev1.ProtocolTCP})
	}
	return ports
}

// unusedAddress returns an address for the object with index i: one of a network that is in no cluster (RFC 1112 §4).
func unusedAddress(i int) string {
	return netip.AddrFrom4([4]byte{240, byte(i >> 16), byte(i >> 8), byte(i)}).String()
}
