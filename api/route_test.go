package api

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/tulle-mesh/tulle/api/pb"
	"github.com/tulle-mesh/tulle/mesh"
)

// traffic fills the parts of o that say how requests are shared and tried. It walks the types, so that a field which
// somebody adds to package mesh and forgets here on the wire fails the round trip.
func (g generator) traffic(o *mesh.Outbound) {
	for _, part := range []any{&o.Accrual, &o.Routes, &o.Profile, &o.Policy, &o.OpaqueRules} {
		g.fill(reflect.ValueOf(part).Elem(), 0)
	}
	for range g.IntN(3) {
		b := mesh.Backend{Service: mesh.ServiceRef{Namespace: g.name(), Name: g.name(), Port: g.port()},
			Protocol: mesh.Protocol(g.IntN(4))}
		g.fill(reflect.ValueOf(&b.Accrual).Elem(), 0)
		b.Endpoints = o.Endpoints
		b.Authority = g.name()
		o.Backends = append(o.Backends, b)
	}
}

func (g generator) fill(v reflect.Value, depth int) {
	switch x := v.Addr().Interface().(type) {
	case *time.Time:
		*x = time.Unix(0, g.Int64N(1<<60)).UTC()
		return
	case *mesh.PathKind:
		*x = mesh.PathKind(g.IntN(int(mesh.GRPCRegex) + 1))
		return
	case *mesh.ServiceRef:
		*x = mesh.ServiceRef{Namespace: g.name(), Name: g.name(), Port: g.port()}
		return
	case *mesh.Filter: // exactly one field
		field := v.Field(g.IntN(v.NumField()))
		field.Set(reflect.New(field.Type().Elem()))
		g.fill(field.Elem(), depth+1)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			g.fill(v.Field(i), depth+1)
		}
		g.obey(v.Addr().Interface())
	case reflect.Pointer:
		if depth < 9 && g.IntN(2) == 0 {
			v.Set(reflect.New(v.Type().Elem()))
			g.fill(v.Elem(), depth+1)
		}
	case reflect.Slice:
		n := g.IntN(3)
		if n == 0 || depth >= 9 {
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			g.fill(v.Index(i), depth+1)
		}
	case reflect.String:
		v.SetString(g.name())
	case reflect.Bool:
		v.SetBool(g.IntN(2) == 0)
	case reflect.Int, reflect.Int64:
		v.SetInt(g.Int64N(1 << 40))
	case reflect.Uint8, reflect.Uint16, reflect.Uint32:
		v.SetUint(uint64(1 + g.IntN(200)))
	case reflect.Float64:
		v.SetFloat(g.Float64())
	default:
		panic(fmt.Sprintf("fill %v", v.Type()))
	}
}

// obey makes a drawn value one that a control plane may send.
func (g generator) obey(v any) {
	switch x := v.(type) {
	case *mesh.Redirect:
		x.Status = [...]int{301, 302, 303, 307, 308}[g.IntN(5)]
	case *mesh.FaultInjection:
		x.AbortGRPC %= 17
	}
}

// newer is a field that no message of this release has.
var newer = protowire.AppendVarint(protowire.AppendTag(nil, 1000, protowire.VarintType), 1)

func TestWhatIsNotUnderstoodSpoilsItsRuleAlone(t *testing.T) {
	understood := func() *pb.Rule { return &pb.Rule{Matches: []*pb.Match{{Method: "GET"}}} }
	withNewer := func() *pb.Match {
		m := &pb.Match{Method: "GET"}
		m.ProtoReflect().SetUnknown(newer)
		return m
	}
	cases := map[string]struct {
		edit func(*pb.Rule)
		want string
	}{
		"a path kind of the future": {func(r *pb.Rule) { r.Matches[0].Path = 99 }, "path matches of kind 99"},
		"a condition of the future": {func(r *pb.Rule) { r.Matches[0] = withNewer() },
			"too old for all of the rule's Match"},
		"a filter of the future": {func(r *pb.Rule) { r.Filters = []*pb.Filter{{}} },
			"does not know one of the rule's filters"},
		"a redirect that is none": {func(r *pb.Rule) { r.Filters = redirects(&pb.Redirect{Status: 200}) },
			"redirect with status 200"},
		"a redirect to no port": {func(r *pb.Rule) {
			r.Filters = redirects(&pb.Redirect{Status: 301, Port: 1 << 16})
		}, "port 65536"},
		"an impossible range of status": {func(r *pb.Rule) { r.Policy = retries(&pb.StatusRange{Last: 1 << 16}) },
			"statuses 0 to 65536"},
	}
	for name, c := range cases {
		wire := &pb.Outbound{Routes: []*pb.Route{{Rules: []*pb.Rule{understood(), understood()}}}}
		c.edit(wire.Routes[0].Rules[1])
		got, err := DecodeOutbound(wire, noPause)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		rules := got.Routes[0].Rules
		if rules[0].Invalid != "" || !strings.Contains(rules[1].Invalid, c.want) {
			t.Errorf("%s: the rules are invalid for %q and %q, want none and %q", name, rules[0].Invalid, rules[1].Invalid,
				c.want)
		}
		if rules[1].Matches[0].Method != "GET" {
			t.Errorf("%s: the rule does not take in the requests that it was meant for: %+v", name, rules[1].Matches)
		}
	}
}

func redirects(r *pb.Redirect) []*pb.Filter {
	return []*pb.Filter{{Filter: &pb.Filter_Redirect{Redirect: r}}}
}

func retries(r *pb.StatusRange) *pb.RequestPolicy {
	return &pb.RequestPolicy{Retry: &pb.Retry{Limit: 1, Statuses: []*pb.StatusRange{r}}}
}

func TestWhatIsNotUnderstoodOfABackendSpoilsItsShareAlone(t *testing.T) {
	service := &pb.Service{Name: "web", Port: 80}
	got, err := DecodeOutbound(&pb.Outbound{
		Routes: []*pb.Route{{Rules: []*pb.Rule{{Backends: []*pb.WeightedBackend{
			{Service: service}, {Service: service, Filters: []*pb.Filter{{}}},
			{Service: &pb.Service{Name: "web", Port: 1 << 20}},
		}}}}},
		OpaqueRules: []*pb.OpaqueRule{{Backends: []*pb.WeightedBackend{{Service: service}}}},
	}, noPause)
	if err != nil {
		t.Fatal(err)
	}
	var invalid []bool
	for _, b := range got.Routes[0].Rules[0].Backends {
		invalid = append(invalid, b.Invalid != "")
	}
	if diff := cmp.Diff([]bool{false, true, true}, invalid); diff != "" || got.Routes[0].Rules[0].Invalid != "" {
		t.Errorf("rule invalid for %q, backends (-want +got):\n%s", got.Routes[0].Rules[0].Invalid, diff)
	}
	if b := got.OpaqueRules[0].Backends[0]; b.Invalid != "" {
		t.Errorf("a plain backend of a stream is invalid: %s", b.Invalid)
	}
}

func TestPolicyOfTheFutureStillHolds(t *testing.T) {
	policy := &pb.RequestPolicy{Timeouts: &pb.Timeouts{RequestNanos: int64(time.Second)}}
	policy.ProtoReflect().SetUnknown(newer)
	got, err := DecodeOutbound(&pb.Outbound{Policy: policy}, noPause)
	if err != nil || got.Policy.Timeouts.Request != time.Second {
		t.Errorf("got %+v, %v", got, err)
	}
}
