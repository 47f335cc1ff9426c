package api

import (
	"fmt"
	"math"
	"time"

	"github.com/tulle-mesh/tulle/api/pb"
	"github.com/tulle-mesh/tulle/mesh"
)

func encodePolicy(p mesh.RequestPolicy) *pb.RequestPolicy {
	if p == (mesh.RequestPolicy{}) {
		return nil
	}
	out := &pb.RequestPolicy{Retry: encodeRetry(p.Retry)}
	if t := p.Timeouts; t != (mesh.Timeouts{}) {
		out.Timeouts = &pb.Timeouts{
			RequestNanos: int64(t.Request), AttemptNanos: int64(t.Attempt), ResponseNanos: int64(t.Response),
			IdleNanos: int64(t.Idle),
		}
	}
	if f := p.FaultInjection; f != nil {
		out.FaultInjection = &pb.FaultInjection{
			AbortStatus: uint32(f.AbortStatus), AbortGrpc: uint32(f.AbortGRPC), AbortPercent: f.AbortPercent,
			DelayNanos: int64(f.Delay), DelayPercent: f.DelayPercent, UntilNanos: f.Until.UnixNano(),
		}
	}
	return out
}

// policy ignores what a newer release adds: it says how a request is tried, not which one, nor where.
func (f *flaws) policy(p *pb.RequestPolicy) mesh.RequestPolicy {
	if p == nil {
		return mesh.RequestPolicy{}
	}
	t := p.GetTimeouts()
	return mesh.RequestPolicy{
		Timeouts: mesh.Timeouts{
			Request: nanos(t.GetRequestNanos()), Attempt: nanos(t.GetAttemptNanos()),
			Response: nanos(t.GetResponseNanos()), Idle: nanos(t.GetIdleNanos()),
		},
		Retry:          f.retry(p.GetRetry()),
		FaultInjection: f.faultInjection(p.GetFaultInjection()),
	}
}

func encodeRetry(r *mesh.Retry) *pb.Retry {
	if r == nil {
		return nil
	}
	return &pb.Retry{
		Statuses: mapped(r.Statuses, encodeStatuses), Grpc: r.GRPC, Limit: r.Limit, BackoffNanos: int64(r.Backoff),
		Budget: encodeBudget(r.Budget),
	}
}

func (f *flaws) retry(r *pb.Retry) *mesh.Retry {
	if r == nil {
		return nil
	}
	return &mesh.Retry{
		Statuses: mapped(r.GetStatuses(), f.statuses), GRPC: r.GetGrpc(), Limit: max(r.GetLimit(), 1),
		Backoff: nanos(r.GetBackoffNanos()), Budget: f.budget(r.GetBudget()),
	}
}

func encodeStatuses(r mesh.StatusRange) *pb.StatusRange {
	return &pb.StatusRange{First: uint32(r.First), Last: uint32(r.Last)}
}

func (f *flaws) statuses(r *pb.StatusRange) mesh.StatusRange {
	if r.GetFirst() > math.MaxUint16 || r.GetLast() > math.MaxUint16 {
		f.add("statuses %d to %d", r.GetFirst(), r.GetLast())
		return mesh.StatusRange{}
	}
	return mesh.StatusRange{First: uint16(r.GetFirst()), Last: uint16(r.GetLast())}
}

func encodeBudget(b *mesh.Budget) *pb.Budget {
	if b == nil {
		return nil
	}
	return &pb.Budget{Ratio: b.Ratio, MinPerSecond: b.MinPerSecond, TtlNanos: int64(b.TTL)}
}

func (f *flaws) budget(b *pb.Budget) *mesh.Budget {
	if b == nil {
		return nil
	}
	return &mesh.Budget{Ratio: f.number(b.GetRatio()), MinPerSecond: b.GetMinPerSecond(), TTL: nanos(b.GetTtlNanos())}
}

// fault is nil for one that it does not understand: a failure that nobody asked for is worse than none.
func (f *flaws) faultInjection(in *pb.FaultInjection) *mesh.FaultInjection {
	if in == nil || len(in.ProtoReflect().GetUnknown()) > 0 || in.GetAbortStatus() > 599 || in.GetAbortGrpc() > 16 ||
		!isNumber(in.GetAbortPercent()) || !isNumber(in.GetDelayPercent()) {
		return nil
	}
	return &mesh.FaultInjection{
		AbortStatus: uint16(in.GetAbortStatus()), AbortGRPC: uint8(in.GetAbortGrpc()), AbortPercent: in.GetAbortPercent(),
		Delay: nanos(in.GetDelayNanos()), DelayPercent: in.GetDelayPercent(), Until: time.Unix(0, in.GetUntilNanos()).UTC(),
	}
}

func encodeAccrual(a *mesh.Accrual) *pb.Accrual {
	if a == nil {
		return nil
	}
	return &pb.Accrual{
		MaxFailures: a.MaxFailures, SuccessRate: a.SuccessRate, WindowNanos: int64(a.Window), MinRequests: a.MinRequests,
		MinPenaltyNanos: int64(a.MinPenalty), MaxPenaltyNanos: int64(a.MaxPenalty), Jitter: a.Jitter,
	}
}

func decodeAccrual(a *pb.Accrual) (*mesh.Accrual, error) {
	if a == nil {
		return nil, nil
	}
	if !isNumber(a.GetSuccessRate()) || !isNumber(a.GetJitter()) {
		return nil, fmt.Errorf("failure accrual: success rate %v, jitter %v", a.GetSuccessRate(), a.GetJitter())
	}
	return &mesh.Accrual{
		MaxFailures: a.GetMaxFailures(), SuccessRate: a.GetSuccessRate(), Window: nanos(a.GetWindowNanos()),
		MinRequests: a.GetMinRequests(),
		MinPenalty:  nanos(a.GetMinPenaltyNanos()), MaxPenalty: nanos(a.GetMaxPenaltyNanos()), Jitter: a.GetJitter(),
	}, nil
}

func encodeProfile(p *mesh.Profile) *pb.Profile {
	if p == nil {
		return nil
	}
	return &pb.Profile{
		Ref: encodeRef(p.Ref), Budget: encodeBudget(p.Budget), Overrides: mapped(p.Overrides, encodeWeighted),
		Routes: mapped(p.Routes, func(r mesh.ProfileRoute) *pb.ProfileRoute {
			return &pb.ProfileRoute{
				Name: r.Name, Condition: encodeCondition(r.Condition), Classes: mapped(r.Classes, encodeClass),
				Retryable: r.Retryable, Budget: encodeBudget(r.Budget), TimeoutNanos: int64(r.Timeout),
			}
		}),
	}
}

// decodeProfile has no rule to blame for what it does not understand, so it leaves nothing out.
func decodeProfile(p *pb.Profile) (*mesh.Profile, error) {
	if p == nil {
		return nil, nil
	}
	var f flaws
	out := &mesh.Profile{
		Ref: decodeRef(p.GetRef()), Budget: f.budget(p.GetBudget()), Overrides: mapped(p.GetOverrides(), decodeWeighted),
		Routes: mapped(p.GetRoutes(), func(r *pb.ProfileRoute) mesh.ProfileRoute {
			return mesh.ProfileRoute{
				Name: r.GetName(), Condition: f.condition(r.GetCondition()), Classes: mapped(r.GetClasses(), f.class),
				Retryable: r.GetRetryable(), Budget: f.budget(r.GetBudget()), Timeout: nanos(r.GetTimeoutNanos()),
			}
		}),
	}
	if f.first != "" {
		return nil, fmt.Errorf("profile %s/%s: %s", out.Ref.Namespace, out.Ref.Name, f.first)
	}
	return out, nil
}

func encodeClass(c mesh.ResponseClass) *pb.ResponseClass {
	return &pb.ResponseClass{Condition: encodeAnswer(c.Condition), Failure: c.Failure}
}

func (f *flaws) class(c *pb.ResponseClass) mesh.ResponseClass {
	return mesh.ResponseClass{Condition: f.answer(c.GetCondition()), Failure: c.GetFailure()}
}

func encodeAnswer(c mesh.ResponseCondition) *pb.ResponseCondition {
	out := &pb.ResponseCondition{All: mapped(c.All, encodeAnswer), Any: mapped(c.Any, encodeAnswer)}
	if c.Status != (mesh.StatusRange{}) {
		out.Status = encodeStatuses(c.Status)
	}
	if c.Not != nil {
		out.Not = encodeAnswer(*c.Not)
	}
	return out
}

func (f *flaws) answer(c *pb.ResponseCondition) mesh.ResponseCondition {
	out := mesh.ResponseCondition{Status: f.statuses(c.GetStatus()), All: mapped(c.GetAll(), f.answer),
		Any: mapped(c.GetAny(), f.answer)}
	if c.GetNot() != nil {
		not := f.answer(c.GetNot())
		out.Not = &not
	}
	return out
}

func encodeBackend(b mesh.Backend) *pb.Backend {
	return &pb.Backend{
		Service: encodeService(b.Service), Authority: b.Authority, Protocol: pb.Protocol(b.Protocol),
		Endpoints: encodeEndpoints(b.Endpoints), Accrual: encodeAccrual(b.Accrual),
	}
}

func decodeBackend(b *pb.Backend, pause func()) (out mesh.Backend, err error) {
	out.Authority = b.GetAuthority()
	if out.Service, err = decodeService(b.GetService()); err != nil {
		return out, err
	}
	if out.Protocol, err = decodeProtocol(b.GetProtocol()); err != nil {
		return out, err
	}
	if out.Endpoints, err = decodeEndpoints(b.GetEndpoints(), pause); err != nil {
		return out, err
	}
	out.Accrual, err = decodeAccrual(b.GetAccrual())
	return out, err
}

func encodeOpaqueRule(s mesh.OpaqueRule) *pb.OpaqueRule {
	return &pb.OpaqueRule{Ref: encodeRef(s.Ref), Hostnames: s.Hostnames, Backends: mapped(s.Backends, encodeWeighted)}
}

// decodeOpaqueRule makes every backend invalid where it does not understand the rule.
func decodeOpaqueRule(s *pb.OpaqueRule) mesh.OpaqueRule {
	var f flaws
	f.whole(s)
	out := mesh.OpaqueRule{Ref: decodeRef(s.GetRef()), Hostnames: s.GetHostnames(),
		Backends: mapped(s.GetBackends(), decodeWeighted)}
	for i := range out.Backends {
		if f.first != "" {
			out.Backends[i].Invalid = f.first
		}
	}
	return out
}
