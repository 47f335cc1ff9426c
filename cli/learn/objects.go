package learn

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/tulle-mesh/tulle/controller/model"
	"github.com/tulle-mesh/tulle/crds/v1alpha1"
	"github.com/tulle-mesh/tulle/internal/podowner"
	"github.com/tulle-mesh/tulle/mesh"
)

// createdBy marks the objects that Learn makes, so that it may make them again.
const createdBy = "tulle/policy-learn"

// maxIdentities is how many identities one MeshTLSAuthentication may have: that of its definition.
const maxIdentities = 1024

// maxName leaves room for a number behind a name.
const maxName = 240

// Document is one object to print, with a comment for people.
type Document struct {
	Comment []string
	Tree    map[string]any
}

// print makes the documents of what was learned, in the order of the ports, and then of the routes.
func (l *learner) print() {
	servers := slices.SortedFunc(maps.Values(l.servers), func(a, b *grant) int {
		return cmp.Or(compareWorkloadPorts(a.ports[0], b.ports[0]), compareRefs(a.server.existing, b.server.existing))
	})
	for _, s := range servers {
		s.name = l.printServer(s)
		l.printCallers(s, s.ports[0].workload.Namespace, s.name, v1alpha1.PolicyGroup, "Server")
	}
	routes := slices.SortedFunc(maps.Values(l.routes), func(a, b *grant) int { return compareRefs(a.route, b.route) })
	for _, r := range routes {
		l.printCallers(r, r.route.Namespace, r.route.Name, r.route.Group, r.route.Kind)
	}
	l.findOthers(servers)
	l.noteOthers(servers)
}

// findOthers finds the authorizations that exist and admit clients at the Servers to be made, such as those of the
// whole namespace.
func (l *learner) findOthers(servers []*grant) {
	var events []model.Event
	for _, o := range l.world.objects {
		events = append(events, model.Event{Object: o})
	}
	exist := len(events)
	for _, s := range servers {
		if s.server.existing == (mesh.Ref{}) {
			at := s.server.made
			events = append(events, model.Event{Object: &v1alpha1.Server{
				// The oldest of two Servers decides, and this one is the youngest.
				ObjectMeta: metav1.ObjectMeta{Namespace: at.workload.Namespace, Name: s.name,
					CreationTimestamp: metav1.NewTime(time.Now())},
				Spec: v1alpha1.ServerSpec{
					PodSelector: &metav1.LabelSelector{MatchLabels: selectorOf(at.workload)},
					Port:        intstr.FromInt32(int32(at.port)), AccessPolicy: string(mesh.Deny)},
			}})
		}
	}
	if len(events) == exist {
		return
	}
	after := NewWorld(l.world.config, events)
	for _, s := range servers {
		if s.server.existing != (mesh.Ref{}) {
			continue
		}
		for _, pod := range l.world.pods[s.server.made.workload] {
			port := after.proxyOf(pod).inbound.Port(s.server.made.port)
			if port.Server.Namespace == pod.Namespace && port.Server.Name == s.name {
				s.addExistingOf(port)
			}
		}
	}
}

// selectorOf returns the label of the pods of a workload.
func selectorOf(w Workload) map[string]string {
	return map[string]string{podowner.LabelPrefix + w.Kind: w.Name}
}

// printServer prints the Server of a port unless it exists and denies, and returns its name.
func (l *learner) printServer(s *grant) string {
	places := make([]string, len(s.ports))
	for i, p := range s.ports {
		places[i] = p.String()
	}
	comment := strings.Join(places, ", ")
	if s.server.existing == (mesh.Ref{}) {
		at := s.server.made
		name := l.names.pick(at.workload.Namespace, fmt.Sprintf("%s-%d", at.workload.Name, at.port), "Server")
		comments := []string{comment}
		opaque := l.opaque(at)
		if opaque {
			comments = append(comments, "Only connections that are not HTTP were seen.")
		}
		l.document(object("Server", "v1beta3", at.workload.Namespace, name, serverSpec(at.workload, at.port, opaque)),
			comments...)
		return name
	}
	name := s.server.existing.Name
	l.noteWider(s)
	if s.access == mesh.Deny {
		return name
	}
	tree, err := l.denying(s.server.existing)
	if err != nil {
		l.note("Server %s: its accessPolicy %s stays: %v", name, s.access, err)
		return name
	}
	l.document(tree, comment, fmt.Sprintf("The Server exists. Only its accessPolicy changes, from %s to %s.", s.access,
		mesh.Deny))
	return name
}

// opaque reports whether a port carries no HTTP, as far as is known: none was seen, and no probe asks for it.
func (l *learner) opaque(at workloadPort) bool {
	return !l.requests[at] && !slices.ContainsFunc(l.world.pods[at.workload], func(pod *corev1.Pod) bool {
		return len(l.world.proxyOf(pod).inbound.Port(at.port).ProbePaths) > 0
	})
}

// noteWider names the pods of other workloads that the Server selects: who may call one of them may call all.
func (l *learner) noteWider(s *grant) {
	var others []string
	for workload, pods := range l.world.pods {
		if slices.ContainsFunc(s.ports, func(p workloadPort) bool { return p.workload == workload }) {
			continue
		}
		if slices.ContainsFunc(pods, func(pod *corev1.Pod) bool {
			for _, port := range l.world.proxyOf(pod).inbound.Ports {
				if port.Server == s.server.existing {
					return true
				}
			}
			return false
		}) {
			others = append(others, workload.String())
		}
	}
	var own []string
	for _, p := range s.ports {
		if !slices.Contains(own, p.workload.String()) {
			own = append(own, p.workload.String())
		}
	}
	slices.Sort(others)
	if all := append(own, others...); len(all) > 1 {
		l.note("Server %s selects pods of %s. Who may call one of them may call all.", s.server.existing.Name,
			strings.Join(all, ", "))
	}
}

// denying returns an existing Server with the access policy deny.
func (l *learner) denying(ref mesh.Ref) (map[string]any, error) {
	for _, o := range slices.Backward(l.world.objects) {
		server, ok := o.(*v1alpha1.Server)
		if !ok || server.Namespace != ref.Namespace || server.Name != ref.Name {
			continue
		}
		spec := server.Spec
		spec.AccessPolicy = string(mesh.Deny)
		data, err := json.Marshal(spec)
		if err != nil {
			return nil, fmt.Errorf("encode it: %w", err)
		}
		var fields map[string]any
		if err := json.Unmarshal(data, &fields); err != nil {
			return nil, fmt.Errorf("decode it: %w", err)
		}
		tree := object("Server", "v1beta3", ref.Namespace, ref.Name, fields)
		meta := tree["metadata"].(map[string]any)
		delete(meta, "annotations")
		// Without them, `kubectl apply` would take away those of the Server: ServerAuthorizations select by labels.
		annotations := maps.Clone(server.Annotations)
		delete(annotations, corev1.LastAppliedConfigAnnotation)
		for field, values := range map[string]map[string]string{"labels": server.Labels, "annotations": annotations} {
			if len(values) > 0 {
				meta[field] = values
			}
		}
		return tree, nil
	}
	return nil, fmt.Errorf("it is gone")
}

// printCallers prints who may call a Server or a route, in as many pairs of objects as their number needs.
func (l *learner) printCallers(s *grant, namespace, target, group, kind string) {
	ids := slices.SortedFunc(maps.Keys(s.callers), func(a, b mesh.ID) int {
		return strings.Compare(a.String(), b.String())
	})
	for part := range slices.Chunk(ids, maxIdentities) {
		name := l.names.pick(namespace, target+"-callers", "MeshTLSAuthentication", "AuthorizationPolicy")
		comment := make([]string, len(part))
		identities := make([]any, len(part))
		for i, id := range part {
			comment[i], identities[i] = fmt.Sprintf("%s: %s", id, s.callers[id]), id.String()
		}
		l.document(object("MeshTLSAuthentication", "v1alpha1", namespace, name, map[string]any{"identities": identities}),
			comment...)
		l.document(object("AuthorizationPolicy", "v1alpha1", namespace, name, policySpec(group, kind, target, name)))
	}
}

// noteOthers names authorizations that exist and admit clients at the Servers, and that no document replaces.
func (l *learner) noteOthers(servers []*grant) {
	for _, s := range servers {
		slices.SortFunc(s.existing, compareRefs)
		for _, other := range s.existing {
			if !l.names.made[other] {
				l.note("%s %s exists and admits clients at Server %s, too. Delete it to have only what was seen.", other.Kind,
					other.Name, s.name)
			}
		}
	}
}

func (l *learner) document(tree map[string]any, comment ...string) {
	l.documents = append(l.documents, Document{comment, tree})
}

// object returns an object that learn may make again.
func object(kind, version, namespace, name string, spec map[string]any) map[string]any {
	tree := plainObject(kind, version, namespace, name, spec)
	tree["metadata"].(map[string]any)["annotations"] = map[string]any{mesh.CreatedByAnnotation: createdBy}
	return tree
}

// names gives names to objects. It never takes that of an object that somebody else made.
type names struct {
	taken map[mesh.Ref]bool
	made  map[mesh.Ref]bool
}

func newNames(w *World) *names {
	n := &names{taken: map[mesh.Ref]bool{}, made: map[mesh.Ref]bool{}}
	for _, o := range w.objects {
		kind := ""
		switch o.(type) {
		case *v1alpha1.Server:
			kind = "Server"
		case *v1alpha1.MeshTLSAuthentication:
			kind = "MeshTLSAuthentication"
		case *v1alpha1.AuthorizationPolicy:
			kind = "AuthorizationPolicy"
		}
		// A Server that is in use is never made again, no matter who made it.
		if kind != "" && (kind == "Server" || o.GetAnnotations()[mesh.CreatedByAnnotation] != createdBy) {
			n.taken[policyRef(kind, o.GetNamespace(), o.GetName())] = true
		}
	}
	return n
}

func policyRef(kind, namespace, name string) mesh.Ref {
	return mesh.Ref{Group: v1alpha1.PolicyGroup, Kind: kind, Namespace: namespace, Name: name}
}

// pick returns a name that no object of the kinds has: base, or base and a number.
func (n *names) pick(namespace, base string, kinds ...string) string {
	base = strings.TrimRight(base[:min(len(base), maxName)], "-.")
	for i := 1; ; i++ {
		name := base
		if i > 1 {
			name += "-" + strconv.Itoa(i)
		}
		if slices.ContainsFunc(kinds, func(k string) bool { return n.taken[policyRef(k, namespace, name)] }) {
			continue
		}
		for _, k := range kinds {
			ref := policyRef(k, namespace, name)
			n.taken[ref], n.made[ref] = true, true
		}
		return name
	}
}
