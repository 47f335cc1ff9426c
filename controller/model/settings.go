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
	problems        []Problem
}

// portNames resolves the port names of an object; nil where ports have no names.
type portNames func(name string) []uint16

// parseSettings reads o's annotations. A value that is none keeps what prior says, which is what the object said last, and is a
// Problem.
func parseSettings(kind string, o metav1.Object, named portNames, prior settings) settings {
	p := parser{kind: kind, object: o, named: named}
	out := settings{
		requireIdentity: p.ports(mesh.RequireIdentityPortsAnnotation, prior.requireIdentity),
		skipInbound:     p.ports(mesh.SkipInboundPortsAnnotation, prior.skipInbound),
		policy:          p.policy(mesh.DefaultInboundPolicyAnnotation, prior.policy),
	}
	out.opaque, out.opaqueNames = p.opaque(prior)
	out.problems = p.problems
	return out
}

type parser struct {
	kind     string
	object   metav1.Object
	named    portNames
	problems []Problem
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
	p.problems = append(p.problems, Problem{
		Object:  ObjectRef{Kind: p.kind, Namespace: p.object.GetNamespace(), Name: p.object.GetName(), UID: p.object.GetUID()},
		Field:   annotation,
		Message: fmt.Sprintf("annotation %s: %v; %s", annotation, err, kept),
	})
}

// equal compares what two settings say, not what is wrong with them.
func (a settings) equal(b settings) bool {
	same := func(x, y *mesh.PortSet) bool { return (x == nil) == (y == nil) && (x == nil || slices.Equal(*x, *y)) }
	return a.policy == b.policy && same(a.opaque, b.opaque) && slices.Equal(a.opaqueNames, b.opaqueNames) &&
		same(a.requireIdentity, b.requireIdentity) && same(a.skipInbound, b.skipInbound)
}

// newProblems returns the problems that were not there before. What stays in force is not part of the comparison's meaning but of
// its message, so a value that stays wrong is told once.
func newProblems(before, now []Problem) []Problem {
	var out []Problem
	for _, p := range now {
		if !slices.Contains(before, p) {
			out = append(out, p)
		}
	}
	return out
}
