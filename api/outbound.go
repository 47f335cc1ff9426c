package api

import (
	"fmt"

	"github.com/tulle-mesh/tulle/api/pb"
	"github.com/tulle-mesh/tulle/mesh"
)

// EncodeOutbound returns o as the wire says it.
func EncodeOutbound(o *mesh.Outbound) *pb.Outbound {
	return &pb.Outbound{
		Kind:        pb.Outbound_Kind(o.Kind),
		Service:     encodeService(o.Service),
		Authority:   o.Authority,
		Protocol:    pb.Protocol(o.Protocol),
		Endpoints:   encodeEndpoints(o.Endpoints),
		Accrual:     encodeAccrual(o.Accrual),
		Routes:      mapped(o.Routes, encodeRoute),
		Profile:     encodeProfile(o.Profile),
		Policy:      encodePolicy(o.Policy),
		OpaqueRules: mapped(o.OpaqueRules, encodeOpaqueRule),
		Backends:    mapped(o.Backends, encodeBackend),
	}
}

func encodeEndpoints(in []mesh.Endpoint) []*pb.Endpoint {
	if len(in) == 0 {
		return nil
	}
	out := make([]*pb.Endpoint, len(in))
	for i := range in {
		out[i] = encodeEndpoint(&in[i])
	}
	return out
}

func encodeEndpoint(e *mesh.Endpoint) *pb.Endpoint {
	return &pb.Endpoint{
		Address:  encodeAddr(e.Addr),
		Identity: e.Identity.String(),
		Protocol: pb.Protocol(e.Protocol),
		Weight:   e.Weight,
		Zone:     e.Zone,
		Local:    e.Local,
		Pod:      encodePod(e.Pod),
	}
}

func encodePod(p mesh.PodRef) *pb.Pod {
	if p == (mesh.PodRef{}) {
		return nil
	}
	return &pb.Pod{
		Namespace: p.Namespace, Name: p.Name, ServiceAccount: p.ServiceAccount, OwnerKind: p.OwnerKind,
		OwnerName: p.OwnerName, PodTemplateHash: p.PodTemplateHash, ControlPlaneNs: p.ControlPlaneNS,
	}
}

// DecodeOutbound returns the value that o says. A kind or protocol that this release does not know, an address that is
// none, and an identity that is not a SPIFFE ID are errors: the value is refused whole, because half of it could send
// traffic to nobody's identity. Of a route, only the rule that this release does not understand is lost: it becomes
// invalid, as does a backend. It calls pause now and then: thousands of endpoints take milliseconds.
func DecodeOutbound(o *pb.Outbound, pause func()) (*mesh.Outbound, error) {
	if o.GetKind() < 0 || o.GetKind() > pb.Outbound_UNDEFINED_PORT {
		return nil, fmt.Errorf("decode outbound: unknown kind %d", o.GetKind())
	}
	protocol, err := decodeProtocol(o.GetProtocol())
	if err != nil {
		return nil, fmt.Errorf("decode outbound: %w", err)
	}
	out := &mesh.Outbound{Kind: mesh.OutboundKind(o.GetKind()), Authority: o.GetAuthority(), Protocol: protocol}
	if out.Service, err = decodeService(o.GetService()); err != nil {
		return nil, fmt.Errorf("decode outbound: %w", err)
	}
	if out.Endpoints, err = decodeEndpoints(o.GetEndpoints(), pause); err != nil {
		return nil, fmt.Errorf("decode outbound: %w", err)
	}
	if err := decodeTraffic(o, out, pause); err != nil {
		return nil, fmt.Errorf("decode outbound: %w", err)
	}
	return out, nil
}

// decodeTraffic reads the parts that say how requests and connections are shared and tried.
func decodeTraffic(o *pb.Outbound, out *mesh.Outbound, pause func()) (err error) {
	if out.Accrual, err = decodeAccrual(o.GetAccrual()); err != nil {
		return err
	}
	if out.Profile, err = decodeProfile(o.GetProfile()); err != nil {
		return err
	}
	var f flaws
	out.Policy = f.policy(o.GetPolicy())
	if f.first != "" {
		return fmt.Errorf("policy: %s", f.first)
	}
	out.Routes = mapped(o.GetRoutes(), decodeRoute)
	out.OpaqueRules = mapped(o.GetOpaqueRules(), decodeOpaqueRule)
	if len(o.GetBackends()) > 0 {
		out.Backends = make([]mesh.Backend, len(o.GetBackends()))
	}
	for i, b := range o.GetBackends() {
		if out.Backends[i], err = decodeBackend(b, pause); err != nil {
			return fmt.Errorf("backend %d: %w", i, err)
		}
	}
	return nil
}

// stretch is how many endpoints are decoded between two pauses.
const stretch = 256

func decodeEndpoints(in []*pb.Endpoint, pause func()) ([]mesh.Endpoint, error) {
	if len(in) == 0 {
		return nil, nil
	}
	out := make([]mesh.Endpoint, len(in))
	for i, e := range in {
		if i%stretch == stretch-1 {
			pause()
		}
		var err error
		if out[i], err = decodeEndpoint(e); err != nil {
			return nil, fmt.Errorf("endpoint %d: %w", i, err)
		}
	}
	return out, nil
}

func decodeEndpoint(e *pb.Endpoint) (mesh.Endpoint, error) {
	addr, err := decodeAddr(e.GetAddress())
	if err != nil {
		return mesh.Endpoint{}, err
	}
	id, err := decodeID(e.GetIdentity())
	if err != nil {
		return mesh.Endpoint{}, err
	}
	protocol, err := decodeProtocol(e.GetProtocol())
	if err != nil {
		return mesh.Endpoint{}, err
	}
	return mesh.Endpoint{
		Addr: addr, Identity: id, Protocol: protocol, Weight: e.GetWeight(), Zone: e.GetZone(), Local: e.GetLocal(),
		Pod: decodePod(e.GetPod()),
	}, nil
}

func decodePod(p *pb.Pod) mesh.PodRef {
	return mesh.PodRef{
		Namespace: p.GetNamespace(), Name: p.GetName(), ServiceAccount: p.GetServiceAccount(), OwnerKind: p.GetOwnerKind(),
		OwnerName: p.GetOwnerName(), PodTemplateHash: p.GetPodTemplateHash(), ControlPlaneNS: p.GetControlPlaneNs(),
	}
}

// decodeID accepts the SPIFFE spelling alone. "" is the zero ID.
func decodeID(s string) (mesh.ID, error) {
	if s == "" {
		return mesh.ID{}, nil
	}
	id, err := mesh.ParseID(s)
	if err == nil && id.String() != s {
		err = fmt.Errorf("identity %q: %w", s, mesh.ErrNotID)
	}
	return id, err
}

func decodeProtocol(p pb.Protocol) (mesh.Protocol, error) {
	if p < 0 || p > pb.Protocol_OPAQUE {
		return 0, fmt.Errorf("unknown protocol %d", p)
	}
	return mesh.Protocol(p), nil
}
