package api

import (
	"fmt"

	"github.com/tulle-mesh/tulle/api/pb"
	"github.com/tulle-mesh/tulle/mesh"
)

// EncodeOutbound returns o as the wire says it.
func EncodeOutbound(o *mesh.Outbound) *pb.Outbound {
	out := &pb.Outbound{
		Kind:      pb.Outbound_Kind(o.Kind),
		Authority: o.Authority,
		Protocol:  pb.Protocol(o.Protocol),
	}
	if s := o.Service; !s.IsZero() {
		out.Service = &pb.Service{Namespace: s.Namespace, Name: s.Name, Port: uint32(s.Port)}
	}
	if len(o.Endpoints) > 0 {
		out.Endpoints = make([]*pb.Endpoint, len(o.Endpoints))
	}
	for i := range o.Endpoints {
		out.Endpoints[i] = encodeEndpoint(&o.Endpoints[i])
	}
	return out
}

func encodeEndpoint(e *mesh.Endpoint) *pb.Endpoint {
	out := &pb.Endpoint{
		Address:  encodeAddr(e.Addr),
		Identity: e.Identity.String(),
		Protocol: pb.Protocol(e.Protocol),
		Weight:   e.Weight,
		Zone:     e.Zone,
		Local:    e.Local,
	}
	if p := e.Pod; p != (mesh.PodRef{}) {
		out.Pod = &pb.Pod{
			Namespace: p.Namespace, Name: p.Name, ServiceAccount: p.ServiceAccount, OwnerKind: p.OwnerKind, OwnerName: p.OwnerName,
			PodTemplateHash: p.PodTemplateHash, ControlPlaneNs: p.ControlPlaneNS,
		}
	}
	return out
}

// DecodeOutbound returns the value that o says. A kind or protocol that this release does not know, an address that is none, and an
// identity that is not a SPIFFE ID are errors: the value is refused whole, because half of it could send traffic to nobody's
// identity.
func DecodeOutbound(o *pb.Outbound) (*mesh.Outbound, error) {
	if o.GetKind() < 0 || o.GetKind() > pb.Outbound_UNDEFINED_PORT {
		return nil, fmt.Errorf("decode outbound: unknown kind %d", o.GetKind())
	}
	protocol, err := decodeProtocol(o.GetProtocol())
	if err != nil {
		return nil, fmt.Errorf("decode outbound: %w", err)
	}
	out := &mesh.Outbound{Kind: mesh.OutboundKind(o.GetKind()), Authority: o.GetAuthority(), Protocol: protocol}
	if s := o.GetService(); s != nil {
		port, err := decodePort(s.GetPort())
		if err != nil {
			return nil, fmt.Errorf("decode outbound: service %s/%s: %w", s.GetNamespace(), s.GetName(), err)
		}
		out.Service = mesh.ServiceRef{Namespace: s.GetNamespace(), Name: s.GetName(), Port: port}
	}
	if len(o.GetEndpoints()) > 0 {
		out.Endpoints = make([]mesh.Endpoint, len(o.GetEndpoints()))
	}
	for i, e := range o.GetEndpoints() {
		if out.Endpoints[i], err = decodeEndpoint(e); err != nil {
			return nil, fmt.Errorf("decode outbound: endpoint %d: %w", i, err)
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
	p := e.GetPod()
	return mesh.Endpoint{
		Addr: addr, Identity: id, Protocol: protocol, Weight: e.GetWeight(), Zone: e.GetZone(), Local: e.GetLocal(),
		Pod: mesh.PodRef{
			Namespace: p.GetNamespace(), Name: p.GetName(), ServiceAccount: p.GetServiceAccount(), OwnerKind: p.GetOwnerKind(),
			OwnerName: p.GetOwnerName(), PodTemplateHash: p.GetPodTemplateHash(), ControlPlaneNS: p.GetControlPlaneNs(),
		},
	}, nil
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
