package model

import (
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/mesh"
)

// renderPort writes one port's policy, a line for each thing that it says beyond its defaults.
func renderPort(b *strings.Builder, number uint16, p mesh.PortPolicy) {
	fmt.Fprintf(b, "  %d %s probes=%v", number, p.Policy, p.ProbePaths)
	if p.Server != (mesh.Ref{}) {
		fmt.Fprintf(b, " server=%s/%s protocol=%s", p.Server.Namespace, p.Server.Name, p.Protocol)
	}
	b.WriteString("\n")
	for _, a := range p.Authorizations {
		renderAuthorization(b, "    ", a)
	}
	for _, r := range p.Routes {
		fmt.Fprintf(b, "    route %s.%s %s/%s rules=%d\n", r.Route.Ref.Kind, r.Route.Ref.Group, r.Route.Ref.Namespace, r.Route.Ref.Name,
			len(r.Route.Rules))
		for _, a := range r.Authorizations {
			renderAuthorization(b, "      ", a)
		}
	}
	if l := p.RateLimit; l != nil {
		fmt.Fprintf(b, "    limit %s total=%v identity=%v overrides=%v\n", l.Ref.Name, l.Total, l.Identity, l.Overrides)
	}
}

func renderAuthorization(b *strings.Builder, indent string, a mesh.Authorization) {
	who := [...]string{"named", "authenticated", "anybody"}[a.Clients]
	fmt.Fprintf(b, "%s%s %s: %s", indent, a.Ref.Kind, a.Ref.Name, who)
	for _, m := range a.Identities {
		star := func(s string) string {
			if s == "" {
				return "*"
			}
			return s
		}
		fmt.Fprintf(b, " %s/%s/%s", star(m.TrustDomain), star(m.Namespace), star(m.ServiceAccount))
	}
	for _, n := range a.Networks {
		fmt.Fprintf(b, " from %s", n.Net)
		if len(n.Except) > 0 {
			fmt.Fprintf(b, " except %v", n.Except)
		}
	}
	b.WriteString("\n")
}

func renderStatuses(s *Store) string {
	var b strings.Builder
	for _, st := range s.Statuses(Build(s)) {
		fmt.Fprintf(&b, "%s %s/%s", st.Object.Kind, st.Object.Namespace, st.Object.Name)
		if st.Gone {
			b.WriteString(" gone")
		}
		b.WriteString("\n")
		renderConditions(&b, "  ", st.Conditions)
		for _, p := range st.Parents {
			fmt.Fprintf(&b, "  %s\n", p.Ref.Name)
			renderConditions(&b, "    ", p.Conditions)
		}
	}
	return b.String()
}

func renderConditions(b *strings.Builder, indent string, list []metav1.Condition) {
	for _, c := range list {
		fmt.Fprintf(b, "%s%s=%s %s @%d", indent, c.Type, c.Status, c.Reason, c.ObservedGeneration)
		if c.Message != "" {
			fmt.Fprintf(b, " %q", c.Message)
		}
		b.WriteString("\n")
	}
}
