package api

import (
	"cmp"
	"fmt"
	"math"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/tulle-mesh/tulle/api/pb"
	"github.com/tulle-mesh/tulle/mesh"
)

// mapped returns f of each element; nil for none.
func mapped[T, U any](in []T, f func(T) U) []U {
	if len(in) == 0 {
		return nil
	}
	out := make([]U, len(in))
	for i, v := range in {
		out[i] = f(v)
	}
	return out
}

func encodeService(s mesh.ServiceRef) *pb.Service {
	if s.IsZero() {
		return nil
	}
	return &pb.Service{Namespace: s.Namespace, Name: s.Name, Port: uint32(s.Port)}
}

func decodeService(s *pb.Service) (mesh.ServiceRef, error) {
	if s == nil {
		return mesh.ServiceRef{}, nil
	}
	port, err := decodePort(s.GetPort())
	if err != nil {
		return mesh.ServiceRef{}, fmt.Errorf("service %s/%s: %w", s.GetNamespace(), s.GetName(), err)
	}
	return mesh.ServiceRef{Namespace: s.GetNamespace(), Name: s.GetName(), Port: port}, nil
}

func encodeRoute(r mesh.Route) *pb.Route {
	return &pb.Route{Ref: encodeRef(r.Ref), Grpc: r.GRPC, Rules: mapped(r.Rules, encodeRule)}
}

// decodeRoute never fails: a rule that it does not understand whole is invalid, and says why.
func decodeRoute(r *pb.Route) mesh.Route {
	return mesh.Route{Ref: decodeRef(r.GetRef()), GRPC: r.GetGrpc(), Rules: mapped(r.GetRules(), decodeRule)}
}

func encodeRule(r mesh.Rule) *pb.Rule {
	return &pb.Rule{
		Name: r.Name, Matches: mapped(r.Matches, encodeMatch), Filters: mapped(r.Filters, encodeFilter),
		Backends: mapped(r.Backends, encodeWeighted), Policy: encodePolicy(r.Policy), Invalid: r.Invalid,
	}
}

// flaws collects mistakes of a part that must not make the whole invalid. Only the first is reported.
type flaws struct{ first string }

func (f *flaws) add(format string, args ...any) {
	if f.first == "" {
		f.first = fmt.Sprintf(format, args...)
	}
}

// whole notes a message with unknown fields, of a newer release: without them it would mean something else.
func (f *flaws) whole(m proto.Message) {
	if r := m.ProtoReflect(); len(r.GetUnknown()) > 0 {
		f.add("this proxy is too old for all of the rule's %s", r.Descriptor().Name())
	}
}

// port returns p, or notes that it is not a port. 0 means no port.
func (f *flaws) port(p uint32) uint16 {
	if p > math.MaxUint16 {
		f.add("port %d", p)
		return 0
	}
	return uint16(p)
}

// number notes a value that is not a ratio or percentage.
func (f *flaws) number(v float64) float64 {
	if !isNumber(v) {
		f.add("number %v", v)
		return 0
	}
	return v
}

func isNumber(v float64) bool { return v >= 0 && v <= math.MaxFloat64 }

func decodeRule(r *pb.Rule) mesh.Rule {
	var f flaws
	f.whole(r)
	out := mesh.Rule{
		Name:     r.GetName(),
		Matches:  mapped(r.GetMatches(), f.match),
		Filters:  f.filters(r.GetFilters()),
		Backends: mapped(r.GetBackends(), decodeWeighted),
		Policy:   f.policy(r.GetPolicy()),
	}
	out.Invalid = cmp.Or(r.GetInvalid(), f.first)
	return out
}

func encodeMatch(m mesh.Match) *pb.Match {
	out := &pb.Match{
		Path: pb.Match_PathKind(m.Path), Value: m.Value, Service: m.Service, Call: m.Call, Method: m.Method,
		Headers: mapped(m.Headers, encodeFieldMatch), Query: mapped(m.Query, encodeFieldMatch), Widened: m.Widened,
	}
	if m.Condition != nil {
		out.Condition = encodeCondition(*m.Condition)
	}
	return out
}

// match decodes what it understands: a match without the rest matches at least every request that it was meant for.
func (f *flaws) match(m *pb.Match) mesh.Match {
	f.whole(m)
	out := mesh.Match{
		Value: m.GetValue(), Service: m.GetService(), Call: m.GetCall(), Method: m.GetMethod(),
		Headers: mapped(m.GetHeaders(), f.field), Query: mapped(m.GetQuery(), f.field), Widened: m.GetWidened(),
	}
	if kind := m.GetPath(); kind < 0 || kind > pb.Match_GRPC_REGEX {
		f.add("this proxy does not know path matches of kind %d", kind)
	} else {
		out.Path = mesh.PathKind(kind)
	}
	if c := m.GetCondition(); c != nil {
		condition := f.condition(c)
		out.Condition = &condition
	}
	return out
}

func encodeFieldMatch(m mesh.FieldMatch) *pb.FieldMatch {
	return &pb.FieldMatch{Name: m.Name, Value: m.Value, Regex: m.Regex}
}

func (f *flaws) field(m *pb.FieldMatch) mesh.FieldMatch {
	f.whole(m)
	return mesh.FieldMatch{Name: m.GetName(), Value: m.GetValue(), Regex: m.GetRegex()}
}

func encodeCondition(c mesh.Condition) *pb.Condition {
	out := &pb.Condition{Method: c.Method, PathRegex: c.PathRegex, All: mapped(c.All, encodeCondition),
		Any: mapped(c.Any, encodeCondition)}
	if c.Not != nil {
		out.Not = encodeCondition(*c.Not)
	}
	return out
}

func (f *flaws) condition(c *pb.Condition) mesh.Condition {
	f.whole(c)
	out := mesh.Condition{
		Method: c.GetMethod(), PathRegex: c.GetPathRegex(), All: mapped(c.GetAll(), f.condition),
		Any: mapped(c.GetAny(), f.condition),
	}
	if c.GetNot() != nil {
		not := f.condition(c.GetNot())
		out.Not = &not
	}
	return out
}

func encodeWeighted(b mesh.WeightedBackend) *pb.WeightedBackend {
	return &pb.WeightedBackend{
		Service: encodeService(b.Service), Ref: encodeRef(b.Ref), Weight: b.Weight, Filters: mapped(b.Filters, encodeFilter),
		Invalid: b.Invalid,
	}
}

// decodeWeighted marks a backend that it does not understand as invalid; the rule's others keep their shares.
func decodeWeighted(b *pb.WeightedBackend) mesh.WeightedBackend {
	var f flaws
	if b == nil {
		return mesh.WeightedBackend{}
	}
	f.whole(b)
	service, err := decodeService(b.GetService())
	if err != nil {
		f.add("%v", err)
	}
	out := mesh.WeightedBackend{Service: service, Ref: decodeRef(b.GetRef()), Weight: b.GetWeight(),
		Filters: f.filters(b.GetFilters())}
	out.Invalid = cmp.Or(b.GetInvalid(), f.first)
	return out
}

func nanos(n int64) time.Duration { return time.Duration(max(n, 0)) }
