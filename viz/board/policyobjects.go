package board

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/controller/kinds"
	"github.com/tulle-mesh/tulle/viz/metrics"
	"github.com/tulle-mesh/tulle/viz/objects"
	"github.com/tulle-mesh/tulle/viz/spectext"
)

// unreadNotes returns notes about the kinds that the page does not have, and why.
func unreadNotes(unread []objects.Unread, namespace string) (notes []string) {
	where := "all namespaces"
	if namespace != "" {
		where = fmt.Sprintf("namespace %q", namespace)
	}
	var forbidden []string
	for _, u := range unread {
		if apierrors.IsForbidden(u.Err) {
			forbidden = append(forbidden, u.Resource)
			continue
		}
		notes = append(notes, fmt.Sprintf("Some objects are not shown: %s.", metrics.Printable(u.Err.Error(), 300)))
	}
	if len(forbidden) > 0 {
		notes = append(notes, fmt.Sprintf("Some objects are not shown: you need the verb list in %s on %s.", where,
			strings.Join(forbidden, ", ")))
	}
	return notes
}

// policyID returns the ID of an object.
func policyID(k kinds.Kind, namespace, name string) string {
	return k.Definition() + "/" + namespace + "/" + name
}

// newPolicyObject returns the object with its status, without facts, links and traffic.
func newPolicyObject(s objects.Configured) PolicyObject {
	o := PolicyObject{
		ID:  policyID(s.Kind, s.Object.GetNamespace(), s.Object.GetName()),
		Ref: Ref{Kind: s.Kind.Name, Namespace: s.Object.GetNamespace(), Name: s.Object.GetName()}, Group: s.Kind.Group,
		Created: s.Object.GetCreationTimestamp().UTC(), Conditions: []PolicyCondition{}, Facts: []PolicyFact{},
		Links: []PolicyLink{},
		Command: fmt.Sprintf("kubectl get %s %s -n %s -o yaml", s.Kind.Definition(), s.Object.GetName(),
			s.Object.GetNamespace()),
	}
	for _, c := range s.Status.Conditions {
		o.Conditions = append(o.Conditions, newPolicyCondition(c, s.Object.GetGeneration()))
	}
	for _, parent := range s.Status.Parents {
		for _, c := range parent.Conditions {
			condition := newPolicyCondition(c, s.Object.GetGeneration())
			condition.Parent, condition.Controller = spectext.Parent(parent.ParentRef), string(parent.ControllerName)
			o.Conditions = append(o.Conditions, condition)
		}
	}
	if s.Fault != nil {
		o.Conditions = append(o.Conditions, PolicyCondition{Type: "Decoded", Status: string(metav1.ConditionFalse),
			Message: metrics.Printable(s.Fault.Error(), 500), State: SeverityError})
	}
	o.State = policyState(o.Conditions)
	return o
}

// policyState returns the worst state of the conditions.
func policyState(conditions []PolicyCondition) string {
	if len(conditions) == 0 {
		return StateNone
	}
	return slices.MinFunc(conditions, func(a, b PolicyCondition) int {
		return cmp.Compare(policyStateOrder(a.State), policyStateOrder(b.State))
	}).State
}

// partlyIgnored is the type of the Gateway API's only condition that is True when something is wrong.
var partlyIgnored = string(gatewayv1.RouteConditionPartiallyInvalid)

// newPolicyCondition returns a condition with its state, for an object of a generation. Conditions of the Gateway API
// are True when all is well, with one exception.
func newPolicyCondition(c metav1.Condition, generation int64) PolicyCondition {
	out := PolicyCondition{Type: c.Type, Status: string(c.Status), Reason: c.Reason, Message: c.Message, State: StateOK}
	switch {
	case c.ObservedGeneration != 0 && c.ObservedGeneration < generation, c.Status == metav1.ConditionUnknown:
		out.State = StatePending
	case c.Type == partlyIgnored && c.Status == metav1.ConditionTrue:
		out.State = SeverityWarning
	case c.Type != partlyIgnored && c.Status == metav1.ConditionFalse:
		out.State = SeverityError
	}
	return out
}

// build returns the objects with their facts, links and traffic.
func (p *policies) build() []PolicyObject {
	out := []PolicyObject{}
	index := map[string]int{}
	for _, s := range p.objects {
		o := newPolicyObject(s)
		p.describe(&o, s.Object)
		index[o.ID] = len(out)
		out = append(out, o)
	}
	for i := range out {
		for j := range out[i].Links {
			l := &out[i].Links[j]
			if l.ID == "" || l.Role == RoleBy {
				continue
			}
			at, ok := index[l.ID]
			if !ok {
				l.Missing = p.reads(l.ID)
				continue
			}
			out[at].Links = append(out[at].Links, PolicyLink{Role: RoleBy, Ref: out[i].Ref, ID: out[i].ID})
		}
	}
	for i := range out {
		p.count(&out[i], p.objects[i].Object)
		slices.SortStableFunc(out[i].Links, func(a, b PolicyLink) int {
			return cmp.Or(cmp.Compare(slices.Index(roles, a.Role), slices.Index(roles, b.Role)),
				cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
		})
		out[i].boundLinks()
	}
	return out
}

// boundLinks leaves out duplicate links, and the links of a role beyond maxRoleLinks.
func (o *PolicyObject) boundLinks() {
	counts, last := map[string]int{}, PolicyLink{}
	o.Links = slices.DeleteFunc(o.Links, func(l PolicyLink) bool {
		if l == last {
			return true
		}
		last = l
		counts[l.Role]++
		if over := counts[l.Role] > maxRoleLinks; over {
			o.MoreLinks++
			return true
		}
		return false
	})
}

// roles are the roles in the order of the page.
var roles = []string{RoleParent, RoleTarget, RolePods, RoleBackend, RoleRequires, RoleBy}

// reads reports whether the page lists the objects of the kind and the namespace in an ID.
func (p *policies) reads(id string) bool {
	definition, rest, _ := strings.Cut(id, "/")
	namespace, _, _ := strings.Cut(rest, "/")
	is := func(u objects.Unread) bool { return u.Resource == definition }
	return !slices.ContainsFunc(p.unread, is) && (p.scope[0] == "" || slices.Contains(p.scope, namespace))
}
