package model

import (
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/tulle-mesh/tulle/controller/compile"
	"github.com/tulle-mesh/tulle/mesh"
)

// renderRouting writes what an answer says about routes, one line a thing.
func renderRouting(b *strings.Builder, o *mesh.Outbound) {
	renderPolicy(b, "  ", o.Policy)
	if o.Accrual != nil {
		fmt.Fprintf(b, "  accrual %s\n", brief(*o.Accrual))
	}
	if p := o.Profile; p != nil {
		fmt.Fprintf(b, "  profile %s/%s", p.Ref.Namespace, p.Ref.Name)
		if p.Budget != nil {
			fmt.Fprintf(b, " budget=%s", brief(*p.Budget))
		}
		b.WriteString("\n")
		for _, r := range p.Routes {
			fmt.Fprintf(b, "    %s\n", brief(r))
		}
		for _, w := range p.Overrides {
			renderBackend(b, "    override ", w)
		}
	}
	for _, r := range o.Routes {
		fmt.Fprintf(b, "  route %s.%s %s/%s grpc=%v\n", r.Ref.Kind, r.Ref.Group, r.Ref.Namespace, r.Ref.Name, r.GRPC)
		for _, rule := range r.Rules {
			renderRule(b, rule)
		}
	}
	for _, s := range o.OpaqueRules {
		fmt.Fprintf(b, "  opaque %s %s/%s %v\n", s.Ref.Kind, s.Ref.Namespace, s.Ref.Name, s.Hostnames)
		for _, w := range s.Backends {
			renderBackend(b, "    -> ", w)
		}
	}
	for _, k := range o.Backends {
		fmt.Fprintf(b, "  backend %s %s", k.Authority, k.Protocol)
		for _, e := range k.Endpoints {
			fmt.Fprintf(b, " %s", e.Addr)
		}
		if k.Accrual != nil {
			fmt.Fprintf(b, " accrual %s", brief(*k.Accrual))
		}
		b.WriteString("\n")
	}
}

func renderRule(b *strings.Builder, rule mesh.Rule) {
	fmt.Fprintf(b, "    rule %q", rule.Name)
	if rule.Invalid != "" {
		fmt.Fprintf(b, " INVALID %s", rule.Invalid)
	}
	b.WriteString("\n")
	for _, m := range rule.Matches {
		fmt.Fprintf(b, "      match %s\n", brief(m))
	}
	for _, f := range rule.Filters {
		fmt.Fprintf(b, "      filter %s\n", brief(f))
	}
	renderPolicy(b, "      ", rule.Policy)
	for _, w := range rule.Backends {
		renderBackend(b, "      -> ", w)
	}
}

func renderPolicy(b *strings.Builder, indent string, p mesh.RequestPolicy) {
	if p != (mesh.RequestPolicy{}) {
		fmt.Fprintf(b, "%spolicy %s\n", indent, brief(p))
	}
}

func renderBackend(b *strings.Builder, head string, w mesh.WeightedBackend) {
	fmt.Fprintf(b, "%s%s.%s/%s:%d weight=%d", head, w.Ref.Name, w.Ref.Namespace, w.Ref.Kind, w.Service.Port, w.Weight)
	for _, f := range w.Filters {
		fmt.Fprintf(b, " filter %s", brief(f))
	}
	if w.Invalid != "" {
		fmt.Fprintf(b, " INVALID %s", w.Invalid)
	}
	b.WriteString("\n")
}

// brief writes a value without what is zero in it.
func brief(v any) string { return briefValue(reflect.ValueOf(v)) }

func briefValue(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case time.Duration:
		return x.String()
	case time.Time:
		return x.Format(time.RFC3339)
	}
	switch v.Kind() {
	case reflect.Pointer:
		return briefValue(v.Elem())
	case reflect.Slice:
		var parts []string
		for i := range v.Len() {
			parts = append(parts, briefValue(v.Index(i)))
		}
		return "[" + strings.Join(parts, " ") + "]"
	case reflect.Struct:
		var parts []string
		for i := range v.NumField() {
			if !v.Field(i).IsZero() {
				parts = append(parts, v.Type().Field(i).Name+":"+briefValue(v.Field(i)))
			}
		}
		return "{" + strings.Join(parts, " ") + "}"
	case reflect.String:
		return fmt.Sprintf("%q", v.String())
	default:
		return fmt.Sprint(v.Interface())
	}
}

func render(a Answer) string {
	var b strings.Builder
	switch {
	case a.Outbound != nil:
		o := a.Outbound
		kind := [...]string{"unknown", "service", "pod", "undefined port"}[o.Kind]
		fmt.Fprintf(&b, "%s", kind)
		if !o.Service.IsZero() {
			fmt.Fprintf(&b, " %s/%s:%d", o.Service.Namespace, o.Service.Name, o.Service.Port)
		}
		if o.Authority != "" {
			fmt.Fprintf(&b, " authority=%s", o.Authority)
		}
		fmt.Fprintf(&b, " %s\n", o.Protocol)
		for _, e := range o.Endpoints {
			fmt.Fprintf(&b, "  %s %s zone=%q local=%v id=%q", e.Addr, e.Protocol, e.Zone, e.Local, e.Identity)
			if p := e.Pod; p != (mesh.PodRef{}) {
				fmt.Fprintf(&b, " pod=%s/%s sa=%s owner=%s/%s", p.Namespace, p.Name, p.ServiceAccount, p.OwnerKind, p.OwnerName)
			}
			b.WriteString("\n")
		}
		renderRouting(&b, o)
	case a.Inbound != nil:
		in := a.Inbound
		fmt.Fprintf(&b, "inbound default=%s opaque=%s require-identity=%s networks=%v", in.Default.Policy, in.OpaquePorts,
			in.RequireIdentityPorts, in.ClusterNetworks)
		if len(in.DeclaredPorts) > 0 {
			fmt.Fprintf(&b, " declared=%s", in.DeclaredPorts)
		}
		b.WriteString("\n")
		for _, port := range slices.Sorted(maps.Keys(in.Ports)) {
			renderPort(&b, port, in.Ports[port])
		}
	default:
		b.WriteString("nothing\n")
	}
	return b.String()
}

func testConfig() Config {
	return Config{
		TrustDomain:           "cluster.local",
		ClusterDomain:         "cluster.local",
		ControlPlaneNamespace: "tulle",
		ClusterNetworks:       []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
		DefaultPolicy:         mesh.AllUnauthenticated,
		DefaultOpaquePorts:    mesh.PortSet{{First: 25, Last: 25}, {First: 3306, Last: 3306}},
	}
}

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
		fmt.Fprintf(b, "    route %s.%s %s/%s rules=%d\n", r.Route.Ref.Kind, r.Route.Ref.Group, r.Route.Ref.Namespace,
			r.Route.Ref.Name,
			len(r.Route.Rules))
		for _, rule := range r.Route.Rules {
			if rule.Invalid != "" {
				renderRule(b, rule)
			}
		}
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

func renderOutcomes(s *Store) string {
	var b strings.Builder
	for _, o := range s.Outcomes() {
		fmt.Fprintf(&b, "%s %s/%s\n", o.Object.Kind, o.Object.Namespace, o.Object.Name)
		if o.Result != nil {
			renderFindings(&b, o.Result.Findings)
		}
		for _, p := range o.Parents {
			renderFindings(&b, p.Findings)
		}
	}
	return b.String()
}

func renderFindings(b *strings.Builder, found compile.Findings) {
	for _, f := range found {
		fmt.Fprintf(b, "  %s %s %q\n", [...]string{"ignored", "unresolved", "rejected"}[f.Severity], f.Reason, f)
	}
}
