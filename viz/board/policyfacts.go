package board

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/controller/kinds"
	"github.com/tulle-mesh/tulle/crds/v1alpha1"
	"github.com/tulle-mesh/tulle/internal/podowner"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/viz/spectext"
)

// maxFactValues bounds the values of one fact.
const maxFactValues = 12

func (o *PolicyObject) addFact(name string, values ...string) {
	values = slices.DeleteFunc(values, func(v string) bool { return v == "" })
	if len(values) > 0 {
		n := min(len(values), maxFactValues)
		o.Facts = append(o.Facts, PolicyFact{Name: name, Values: values[:n], More: len(values) - n})
	}
}

// describe adds the facts and the links from an object's spec.
func (p *policies) describe(o *PolicyObject, typed metav1.Object) {
	switch t := typed.(type) {
	case *v1alpha1.Server:
		p.describeServer(o, t)
	case *v1alpha1.AuthorizationPolicy:
		o.addTarget(t.Spec.TargetRef)
		if len(t.Spec.RequiredAuthenticationRefs) == 0 {
			o.addFact("Clients", "all, also those without identity")
		}
		for _, r := range t.Spec.RequiredAuthenticationRefs {
			o.addLink(RoleRequires, r.Group, r.Kind, cmp.Or(r.Namespace, t.Namespace), r.Name)
		}
	case *v1alpha1.MeshTLSAuthentication:
		identities := slices.Clone(t.Spec.Identities)
		for _, r := range t.Spec.IdentityRefs {
			identities = append(identities, spectext.IdentityRef(r, t.Namespace))
		}
		o.addFact("Identities", identities...)
	case *v1alpha1.NetworkAuthentication:
		o.addFact("Networks", spectext.Networks(t.Spec.Networks)...)
	case *v1alpha1.ServerAuthorization:
		p.describeServerAuthorization(o, t)
	case *v1alpha1.HTTPLocalRateLimitPolicy:
		o.addTarget(t.Spec.TargetRef)
		o.addFact("All clients together", spectext.RateLimit(t.Spec.Total))
		o.addFact("Each client", spectext.RateLimit(t.Spec.Identity))
		for _, override := range t.Spec.Overrides {
			for _, c := range override.ClientRefs {
				o.addFact(fmt.Sprintf("ServiceAccount %s.%s", c.Name, cmp.Or(c.Namespace, t.Namespace)),
					spectext.RateLimit(&v1alpha1.RateLimit{RequestsPerSecond: override.RequestsPerSecond}))
			}
		}
	case *v1alpha1.ServiceProfile:
		describeProfile(o, t)
	case *gatewayv1.ReferenceGrant:
		describeGrant(o, t)
	default:
		describeRoute(o, typed)
	}
}

// addTarget adds a link to the object to which a policy applies.
func (o *PolicyObject) addTarget(r v1alpha1.LocalRef) {
	namespace := o.Namespace
	if r.Kind == "Namespace" {
		namespace = ""
	}
	o.addLink(RoleTarget, r.Group, r.Kind, namespace, r.Name)
}

// addLink adds a link to an object that a spec names.
func (o *PolicyObject) addLink(role, group, kind, namespace, name string) *PolicyLink {
	l := PolicyLink{Role: role, Ref: Ref{Kind: kind, Namespace: namespace, Name: name}}
	if k, ok := kinds.Find(kinds.Configuration(), group, kind); ok {
		l.ID = policyID(k, namespace, name)
	} else if kind == "Service" || kind == "Namespace" {
		l.Kind = strings.ToLower(kind) // as in the links of pages
	}
	o.Links = append(o.Links, l)
	return &o.Links[len(o.Links)-1]
}

func (p *policies) describeServer(o *PolicyObject, t *v1alpha1.Server) {
	o.addFact("Port", t.Spec.Port.String())
	o.addFact("Protocol", cmp.Or(t.Spec.ProxyProtocol, v1alpha1.ProtocolUnknown))
	o.addFact("Access policy", accessPolicyOf(t))
	if t.Spec.PodSelector == nil {
		return
	}
	o.addFact("Selects pods with", spectext.Selector(t.Spec.PodSelector))
	selector, err := metav1.LabelSelectorAsSelector(t.Spec.PodSelector)
	if err != nil {
		return // the status reports the mistake
	}
	selected, all := map[Ref]int{}, map[Ref]int{}
	for _, pod := range p.podsOf(t.Namespace) {
		workload := workloadOf(pod)
		all[workload]++
		if selector.Matches(labels.Set(pod.Labels)) {
			selected[workload]++
		}
	}
	for workload, n := range selected {
		detail := pods(n)
		if n < all[workload] {
			detail = fmt.Sprintf("%d of %s", n, pods(all[workload]))
		}
		o.Links = append(o.Links, PolicyLink{Role: RolePods, Ref: workload, Detail: detail})
	}
	if len(selected) == 0 && p.podsErr == nil {
		o.addFact("Selected now", "no pod")
	}
}

// podsOf returns the pods of a namespace that have not ended.
func (p *policies) podsOf(namespace string) []*corev1.Pod {
	if p.running == nil {
		p.running = map[string][]*corev1.Pod{}
		for i := range p.pods {
			if pod := &p.pods[i]; !cluster.Finished(pod) {
				p.running[pod.Namespace] = append(p.running[pod.Namespace], pod)
			}
		}
	}
	return p.running[namespace]
}

func accessPolicyOf(t *v1alpha1.Server) string { return cmp.Or(t.Spec.AccessPolicy, string(mesh.Deny)) }

// workloadOf returns the owner of a pod that people know, such as the Deployment instead of the ReplicaSet, or the pod.
func workloadOf(pod *corev1.Pod) Ref {
	if kind, name := podowner.Of(pod); kind != "" {
		return Ref{Kind: kind, Namespace: pod.Namespace, Name: name}
	}
	return Ref{Kind: "pod", Namespace: pod.Namespace, Name: pod.Name}
}

func (p *policies) describeServerAuthorization(o *PolicyObject, t *v1alpha1.ServerAuthorization) {
	if t.Spec.Server.Name != "" {
		o.addLink(RoleTarget, v1alpha1.PolicyGroup, "Server", t.Namespace, t.Spec.Server.Name)
	} else if t.Spec.Server.Selector != nil {
		o.addFact("Servers with", spectext.Selector(t.Spec.Server.Selector))
		selector, err := metav1.LabelSelectorAsSelector(t.Spec.Server.Selector)
		for _, s := range p.objects {
			server, ok := s.Object.(*v1alpha1.Server)
			if ok && err == nil && server.Namespace == t.Namespace && selector.Matches(labels.Set(server.Labels)) {
				o.addLink(RoleTarget, v1alpha1.PolicyGroup, "Server", server.Namespace, server.Name)
			}
		}
	}
	client := t.Spec.Client
	switch {
	case client.Unauthenticated:
		o.addFact("Clients", "all, also those without identity")
	case client.MeshTLS == nil:
	case client.MeshTLS.UnauthenticatedTLS:
		o.addFact("Clients", "all with mesh TLS")
	default:
		identities := slices.Clone(client.MeshTLS.Identities)
		for _, a := range client.MeshTLS.ServiceAccounts {
			identities = append(identities, "ServiceAccount "+a.Name+"."+cmp.Or(a.Namespace, t.Namespace))
		}
		o.addFact("Identities", identities...)
	}
	o.addFact("Networks", spectext.Networks(client.Networks)...)
}

func describeProfile(o *PolicyObject, t *v1alpha1.ServiceProfile) {
	if service, ok := profileService(t.Name); ok {
		o.addLink(RoleParent, "", "Service", service.Namespace, service.Name)
	}
	names := make([]string, len(t.Spec.Routes))
	for i, r := range t.Spec.Routes {
		names[i] = r.Name
	}
	o.addFact("Routes", names...)
	for _, d := range t.Spec.DstOverrides {
		if service, ok := profileService(d.Authority); ok {
			o.addLink(RoleBackend, "", "Service", service.Namespace, service.Name).Detail = "weight " + d.Weight.String()
		}
	}
	o.addFact("Opaque ports", t.Spec.OpaquePorts...)
}

// profileService reads the Service of a full name such as web.shop.svc.cluster.local, with or without a port.
func profileService(name string) (Ref, bool) {
	host, _, _ := strings.Cut(name, ":")
	parts := strings.SplitN(host, ".", 4)
	if len(parts) < 3 || parts[2] != "svc" {
		return Ref{}, false
	}
	return Ref{Kind: "service", Namespace: parts[1], Name: parts[0]}, true
}

func describeGrant(o *PolicyObject, t *gatewayv1.ReferenceGrant) {
	var from, to []string
	for _, f := range t.Spec.From {
		from = append(from, fmt.Sprintf("%s of namespace %s", f.Kind, f.Namespace))
	}
	for _, r := range t.Spec.To {
		name := "any"
		if r.Name != nil {
			name = string(*r.Name)
		}
		to = append(to, fmt.Sprintf("%s %s", r.Kind, name))
	}
	o.addFact("From", from...)
	o.addFact("To", to...)
}
