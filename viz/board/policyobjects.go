package board

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/controller/kinds"
	"github.com/tulle-mesh/tulle/viz/metrics"
)

// policySource is an object as the API server has it.
type policySource struct {
	kind  kinds.Kind
	typed metav1.Object
	// fault is why the spec could not be decoded; nil if it could.
	fault  error
	status policyStatus
}

// policyStatus is as much of a status as the page shows.
type policyStatus struct {
	Parents    []gatewayv1.RouteParentStatus `json:"parents,omitempty"`
	Conditions []metav1.Condition            `json:"conditions,omitempty"`
}

// policyPageSize is how many objects one request asks for.
const policyPageSize = 500

// listPolicies returns the objects of each kind that configures the mesh. A kind that the cluster lacks has none. It
// also returns the resources that the viewer may not list.
func listPolicies(ctx context.Context, cl *cluster.Client, namespace string) (out []policySource, unread []string,
	err error) {
	all := kinds.Configuration()
	found := make([][]policySource, len(all))
	forbidden := make([]bool, len(all))
	group, ctx := errgroup.WithContext(ctx)
	for i, k := range all {
		group.Go(func() error {
			var err error
			found[i], err = listPolicyKind(ctx, cl, k, namespace)
			if forbidden[i] = apierrors.IsForbidden(err); forbidden[i] {
				return nil
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, nil, err
	}
	for i, k := range all {
		out = append(out, found[i]...)
		if forbidden[i] {
			unread = append(unread, k.Definition())
		}
	}
	return out, unread, nil
}

func listPolicyKind(ctx context.Context, cl *cluster.Client, k kinds.Kind, namespace string) (out []policySource,
	err error) {
	for _, version := range k.Versions {
		options := metav1.ListOptions{Limit: policyPageSize}
		for {
			list, err := cl.Dynamic.Resource(k.Resource(version)).Namespace(namespace).List(ctx, options)
			if apierrors.IsNotFound(err) || apimeta.IsNoMatchError(err) {
				break
			}
			if err != nil {
				return nil, fmt.Errorf("list %s: %w", k.Definition(), err)
			}
			for i := range list.Items {
				out = append(out, newPolicySource(k, &list.Items[i]))
			}
			if options.Continue = list.GetContinue(); options.Continue == "" {
				return out, nil
			}
		}
	}
	return nil, nil
}

// newPolicySource decodes an object. A status that cannot be decoded is like none.
func newPolicySource(k kinds.Kind, u *unstructured.Unstructured) policySource {
	s := policySource{kind: k, typed: k.New()}
	if status, ok := u.Object["status"].(map[string]any); ok {
		if runtime.DefaultUnstructuredConverter.FromUnstructured(status, &s.status) != nil {
			s.status = policyStatus{}
		}
	}
	delete(u.Object, "status")
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, s.typed); err != nil {
		s.fault, s.typed = err, u
	}
	return s
}

// unreadNote says which kinds the viewer may not list.
func unreadNote(resources []string, namespace string) string {
	where := "all namespaces"
	if namespace != "" {
		where = fmt.Sprintf("namespace %q", namespace)
	}
	return fmt.Sprintf("Some objects are not shown: you need the verb list in %s on %s.", where,
		strings.Join(resources, ", "))
}

// policyID returns the ID of an object.
func policyID(k kinds.Kind, namespace, name string) string {
	return k.Definition() + "/" + namespace + "/" + name
}

// newPolicyObject returns what the object itself says.
func newPolicyObject(s policySource) PolicyObject {
	o := PolicyObject{
		ID:  policyID(s.kind, s.typed.GetNamespace(), s.typed.GetName()),
		Ref: Ref{Kind: s.kind.Name, Namespace: s.typed.GetNamespace(), Name: s.typed.GetName()}, Group: s.kind.Group,
		Created: s.typed.GetCreationTimestamp().UTC(), Conditions: []PolicyCondition{}, Facts: []PolicyFact{},
		Links: []PolicyLink{},
		Command: fmt.Sprintf("kubectl get %s %s -n %s -o yaml", s.kind.Definition(), s.typed.GetName(),
			s.typed.GetNamespace()),
	}
	for _, c := range s.status.Conditions {
		o.Conditions = append(o.Conditions, newPolicyCondition(c, s.typed.GetGeneration()))
	}
	for _, parent := range s.status.Parents {
		for _, c := range parent.Conditions {
			condition := newPolicyCondition(c, s.typed.GetGeneration())
			condition.Parent, condition.Controller = parentText(parent.ParentRef), string(parent.ControllerName)
			o.Conditions = append(o.Conditions, condition)
		}
	}
	if s.fault != nil {
		o.Conditions = append(o.Conditions, PolicyCondition{Type: "Decoded", Status: string(metav1.ConditionFalse),
			Message: metrics.Printable(s.fault.Error(), 500), State: SeverityError})
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

// partlyIgnored is the type of the Gateway API's condition that is True when something is wrong.
var partlyIgnored = string(gatewayv1.RouteConditionPartiallyInvalid)

// newPolicyCondition evaluates a condition for an object of a generation. Conditions of the Gateway API are True when
// all is well, with one exception.
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

// parentText writes a parent of a route, as in Service/web:8080.
func parentText(r gatewayv1.ParentReference) string {
	kind := "Gateway"
	if r.Kind != nil {
		kind = string(*r.Kind)
	}
	text := kind + "/" + string(r.Name)
	if r.Port != nil {
		text += fmt.Sprintf(":%d", *r.Port)
	}
	if r.SectionName != nil {
		text += fmt.Sprintf(" (%s)", *r.SectionName)
	}
	return text
}

// build returns the objects with all that is known of them.
func (p *policies) build() []PolicyObject {
	out := []PolicyObject{}
	index := map[string]int{}
	for _, s := range p.objects {
		o := newPolicyObject(s)
		if s.fault == nil {
			p.describe(&o, s.typed)
		}
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
		p.count(&out[i])
		slices.SortStableFunc(out[i].Links, func(a, b PolicyLink) int {
			return cmp.Or(cmp.Compare(slices.Index(roles, a.Role), slices.Index(roles, b.Role)),
				cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
		})
		out[i].Links = slices.CompactFunc(out[i].Links, func(a, b PolicyLink) bool { return a == b })
	}
	return out
}

// roles are in the order in which a page shows them.
var roles = []string{RoleParent, RoleTarget, RolePods, RoleBackend, RoleRequires, RoleBy}

// reads reports whether the page lists the objects of the kind and the namespace of an ID.
func (p *policies) reads(id string) bool {
	definition, rest, _ := strings.Cut(id, "/")
	namespace, _, _ := strings.Cut(rest, "/")
	return !slices.Contains(p.unread, definition) && (p.query.Namespace == "" || p.query.Namespace == namespace)
}
