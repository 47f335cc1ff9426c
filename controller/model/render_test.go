package model

import (
	"fmt"
	"reflect"
	"strings"
	"time"

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
	for _, s := range o.Streams {
		fmt.Fprintf(b, "  stream %s %s/%s %v\n", s.Ref.Kind, s.Ref.Namespace, s.Ref.Name, s.Hostnames)
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
