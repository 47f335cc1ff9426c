package compile

import (
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/mesh"
)

// Settings is what the annotations of one object say. A nil set or an empty policy says nothing.
type Settings struct {
	Opaque          *mesh.PortSet
	OpaqueNames     []string // of ports, in a namespace: each pod has its own of that name
	RequireIdentity *mesh.PortSet
	skipInbound     *mesh.PortSet
	Policy          mesh.AccessPolicy
	Findings        Findings
}

// PortNames resolves the port names of an object; nil where ports have no names.
type PortNames func(name string) []uint16

// ParseSettings reads o's annotations. A value that is none keeps what prior says, which is what the object said last,
// and is a Finding.
func ParseSettings(o metav1.Object, named PortNames, prior Settings) Settings {
	p := parser{object: o, named: named}
	out := Settings{
		RequireIdentity: p.ports(mesh.RequireIdentityPortsAnnotation, prior.RequireIdentity),
		skipInbound:     p.ports(mesh.SkipInboundPortsAnnotation, prior.skipInbound),
		Policy:          p.policy(mesh.DefaultInboundPolicyAnnotation, prior.Policy),
	}
	out.Opaque, out.OpaqueNames = p.opaque(prior)
	out.Findings = p.findings
	return out
}

type parser struct {
	object   metav1.Object
	named    PortNames
	findings Findings
}

func (p *parser) ports(annotation string, prior *mesh.PortSet) *mesh.PortSet {
	value, ok := p.object.GetAnnotations()[annotation]
	if !ok {
		return nil
	}
	set, err := mesh.ParsePortSet(value, p.named)
	if err != nil {
		p.problem(annotation, err, fallbackPorts(prior))
		return prior
	}
	return &set
}

// opaque reads what the injector reads at admission, in the same way: inject.DeclaredPorts of pods and Services, and
// names for later in a namespace, which has no ports.
func (p *parser) opaque(prior Settings) (*mesh.PortSet, []string) {
	value, ok := p.object.GetAnnotations()[mesh.OpaquePortsAnnotation]
	if !ok || p.named != nil {
		return p.ports(mesh.OpaquePortsAnnotation, prior.Opaque), nil
	}
	set, names, err := mesh.ParseNamedPorts(value)
	if err != nil {
		p.problem(mesh.OpaquePortsAnnotation, err, fallbackPorts(prior.Opaque))
		return prior.Opaque, prior.OpaqueNames
	}
	return &set, names
}

func fallbackPorts(prior *mesh.PortSet) string {
	if prior != nil {
		return fmt.Sprintf("%q stays active", prior.String())
	}
	return "the next default stays active"
}

func (p *parser) policy(annotation string, prior mesh.AccessPolicy) mesh.AccessPolicy {
	value, ok := p.object.GetAnnotations()[annotation]
	if !ok {
		return ""
	}
	policy, err := mesh.ParseAccessPolicy(value)
	if err != nil {
		fallback := "the next default stays active"
		if prior != "" {
			fallback = fmt.Sprintf("%q stays active", prior)
		}
		p.problem(annotation, err, fallback)
		return prior
	}
	return policy
}

func (p *parser) problem(annotation string, err error, fallback string) {
	p.findings.invalid(annotation, fmt.Sprintf("%v; %s", err, fallback))
}

// Equal compares what two settings say, not what is wrong with them.
func (a Settings) Equal(b Settings) bool {
	same := func(x, y *mesh.PortSet) bool { return (x == nil) == (y == nil) && (x == nil || slices.Equal(*x, *y)) }
	return a.Policy == b.Policy && same(a.Opaque, b.Opaque) && slices.Equal(a.OpaqueNames, b.OpaqueNames) &&
		same(a.RequireIdentity, b.RequireIdentity) && same(a.skipInbound, b.skipInbound)
}
