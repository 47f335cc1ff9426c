package model

import (
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/mesh"
)

// settings is what the annotations of one object say. A nil set or an empty policy says nothing.
type settings struct {
	opaque          *mesh.PortSet
	opaqueNames     []string // of ports, in a namespace: each pod has its own of that name
	requireIdentity *mesh.PortSet
	skipInbound     *mesh.PortSet
	policy          mesh.AccessPolicy
	findings        Findings
}

// portNames resolves the port names of an object; nil where ports have no names.
type portNames func(name string) []uint16

// parseSettings reads o's annotations. A value that is none keeps what prior says, which is what the object said last, and is a
// Finding.
func parseSettings(o metav1.Object, named portNames, prior settings) settings {
	p := parser{object: o, named: named}
	out := settings{
		requireIdentity: p.ports(mesh.RequireIdentityPortsAnnotation, prior.requireIdentity),
		skipInbound:     p.ports(mesh.SkipInboundPortsAnnotation, prior.skipInbound),
		policy:          p.policy(mesh.DefaultInboundPolicyAnnotation, prior.policy),
	}
	out.opaque, out.opaqueNames = p.opaque(prior)
	out.findings = p.findings
	return out
}

type parser struct {
	object   metav1.Object
	named    portNames
	findings Findings
}

func (p *parser) ports(annotation string, prior *mesh.PortSet) *mesh.PortSet {
	value, ok := p.object.GetAnnotations()[annotation]
	if !ok {
		return nil
	}
	set, err := mesh.ParsePortSet(value, p.named)
	if err != nil {
		p.problem(annotation, err, keptPorts(prior))
		return prior
	}
	return &set
}

// opaque reads what the injector reads at admission, in the same way: inject.DeclaredPorts of pods and Services, and names for later in
// a namespace, which has no ports.
func (p *parser) opaque(prior settings) (*mesh.PortSet, []string) {
	value, ok := p.object.GetAnnotations()[mesh.OpaquePortsAnnotation]
	if !ok || p.named != nil {
		return p.ports(mesh.OpaquePortsAnnotation, prior.opaque), nil
	}
	set, names, err := mesh.ParseNamedPorts(value)
	if err != nil {
		p.problem(mesh.OpaquePortsAnnotation, err, keptPorts(prior.opaque))
		return prior.opaque, prior.opaqueNames
	}
	return &set, names
}

func keptPorts(prior *mesh.PortSet) string {
	if prior != nil {
		return fmt.Sprintf("%q stays in force", prior.String())
	}
	return "the next default stays in force"
}

func (p *parser) policy(annotation string, prior mesh.AccessPolicy) mesh.AccessPolicy {
	value, ok := p.object.GetAnnotations()[annotation]
	if !ok {
		return ""
	}
	policy, err := mesh.ParseAccessPolicy(value)
	if err != nil {
		kept := "the next default stays in force"
		if prior != "" {
			kept = fmt.Sprintf("%q stays in force", prior)
		}
		p.problem(annotation, err, kept)
		return prior
	}
	return policy
}

func (p *parser) problem(annotation string, err error, kept string) {
	p.findings.invalid(annotation, fmt.Sprintf("%v; %s", err, kept))
}

// equal compares what two settings say, not what is wrong with them.
func (a settings) equal(b settings) bool {
	same := func(x, y *mesh.PortSet) bool { return (x == nil) == (y == nil) && (x == nil || slices.Equal(*x, *y)) }
	return a.policy == b.policy && same(a.opaque, b.opaque) && slices.Equal(a.opaqueNames, b.opaqueNames) &&
		same(a.requireIdentity, b.requireIdentity) && same(a.skipInbound, b.skipInbound)
}
