package api

import (
	"fmt"

	"github.com/tulle-mesh/tulle/api/pb"
	"github.com/tulle-mesh/tulle/mesh"
)

// EncodeInbound returns in as the wire says it.
func EncodeInbound(in *mesh.Inbound) *pb.Inbound {
	out := &pb.Inbound{
		Default:              encodePortPolicy(in.Default),
		OpaquePorts:          encodePorts(in.OpaquePorts),
		RequireIdentityPorts: encodePorts(in.RequireIdentityPorts),
		DeclaredPorts:        encodePorts(in.DeclaredPorts),
	}
	out.RevokedSerials = in.Revoked.Serials
	for _, id := range in.Revoked.Identities {
		out.RevokedIdentities = append(out.RevokedIdentities, id.String())
	}
	for _, n := range in.ClusterNetworks {
		out.ClusterNetworks = append(out.ClusterNetworks, encodePrefix(n))
	}
	if len(in.Ports) > 0 {
		out.Ports = make(map[uint32]*pb.PortPolicy, len(in.Ports))
	}
	for port, policy := range in.Ports {
		out.Ports[uint32(port)] = encodePortPolicy(policy)
	}
	return out
}

func encodePortPolicy(p mesh.PortPolicy) *pb.PortPolicy {
	return &pb.PortPolicy{
		Protocol: pb.Protocol(p.Protocol), Policy: string(p.Policy), RequireIdentity: p.RequireIdentity,
		ProbePaths: p.ProbePaths,
		Server:     encodeRef(p.Server), Authorizations: encodeAuthorizations(p.Authorizations),
		RateLimit: encodeRateLimit(p.RateLimit),
		Routes:    mapped(p.Routes, encodeInboundRoute),
	}
}

func encodeInboundRoute(r mesh.InboundRoute) *pb.InboundRoute {
	return &pb.InboundRoute{Route: encodeRoute(r.Route), Authorizations: encodeAuthorizations(r.Authorizations)}
}

// DecodeInbound returns the value that in says. An access policy that this release does not know, or none, becomes
// mesh.Deny; an unknown protocol, a network, an identity, a rate or a port that is none are errors, and the value is
// refused whole. An authorization that this release does not understand in full lets nobody in.
func DecodeInbound(in *pb.Inbound) (*mesh.Inbound, error) {
	out := &mesh.Inbound{}
	for _, n := range in.GetClusterNetworks() {
		prefix, err := decodePrefix(n)
		if err != nil {
			return nil, fmt.Errorf("decode inbound: cluster networks: %w", err)
		}
		out.ClusterNetworks = append(out.ClusterNetworks, prefix)
	}
	var err error
	if out.Default, err = decodePortPolicy(in.GetDefault()); err != nil {
		return nil, fmt.Errorf("decode inbound: default: %w", err)
	}
	if out.Ports, err = decodePortPolicies(in.GetPorts()); err != nil {
		return nil, fmt.Errorf("decode inbound: %w", err)
	}
	if out.OpaquePorts, err = decodePorts(in.GetOpaquePorts()); err != nil {
		return nil, fmt.Errorf("decode inbound: opaque ports: %w", err)
	}
	if out.RequireIdentityPorts, err = decodePorts(in.GetRequireIdentityPorts()); err != nil {
		return nil, fmt.Errorf("decode inbound: ports that require identity: %w", err)
	}
	if out.DeclaredPorts, err = decodePorts(in.GetDeclaredPorts()); err != nil {
		return nil, fmt.Errorf("decode inbound: declared ports: %w", err)
	}
	if out.Revoked, err = decodeRevoked(in); err != nil {
		return nil, fmt.Errorf("decode inbound: %w", err)
	}
	return out, nil
}

func decodeRevoked(in *pb.Inbound) (out mesh.Revoked, err error) {
	for _, text := range in.GetRevokedSerials() {
		serial, err := mesh.ParseSerial(text)
		if err != nil {
			return out, fmt.Errorf("revoked: %w", err)
		}
		out.Serials = append(out.Serials, serial)
	}
	for _, text := range in.GetRevokedIdentities() {
		id, err := mesh.ParseID(text)
		if err != nil {
			return out, fmt.Errorf("revoked: %w", err)
		}
		out.Identities = append(out.Identities, id)
	}
	return out, nil
}

func decodePortPolicies(ports map[uint32]*pb.PortPolicy) (map[uint16]mesh.PortPolicy, error) {
	if len(ports) == 0 {
		return nil, nil
	}
	out := make(map[uint16]mesh.PortPolicy, len(ports))
	for p, policy := range ports {
		port, err := decodePort(p)
		if err != nil {
			return nil, err
		}
		if out[port], err = decodePortPolicy(policy); err != nil {
			return nil, fmt.Errorf("port %d: %w", port, err)
		}
	}
	return out, nil
}

func decodePortPolicy(p *pb.PortPolicy) (mesh.PortPolicy, error) {
	protocol, err := decodeProtocol(p.GetProtocol())
	if err != nil {
		return mesh.PortPolicy{}, err
	}
	policy, err := mesh.ParseAccessPolicy(p.GetPolicy())
	if err != nil {
		policy = mesh.Deny
	}
	out := mesh.PortPolicy{
		Protocol: protocol, Policy: policy, RequireIdentity: p.GetRequireIdentity(), ProbePaths: p.GetProbePaths(),
		Server: decodeRef(p.GetServer()),
	}
	if out.Authorizations, err = decodeAuthorizations(p.GetAuthorizations()); err != nil {
		return mesh.PortPolicy{}, err
	}
	for _, r := range p.GetRoutes() {
		authorizations, err := decodeAuthorizations(r.GetAuthorizations())
		if err != nil {
			return mesh.PortPolicy{}, fmt.Errorf("route %s: %w", r.GetRoute().GetRef().GetName(), err)
		}
		out.Routes = append(out.Routes, mesh.InboundRoute{Route: decodeGuard(r.GetRoute()), Authorizations: authorizations})
	}
	if out.RateLimit, err = decodeRateLimit(p.GetRateLimit()); err != nil {
		return mesh.PortPolicy{}, fmt.Errorf("rate limit: %w", err)
	}
	return out, nil
}

// decodeGuard returns a route that may guard what other routes leave open: a match that this release does not know
// whole comes before those of the others.
func decodeGuard(r *pb.Route) mesh.Route {
	out := decodeRoute(r)
	for i, rule := range r.GetRules() {
		for j, m := range rule.GetMatches() {
			if !readable(m) {
				out.Rules[i].Matches[j].Widened = true
			}
		}
	}
	return out
}

// readable reports whether this release knows every part of m.
func readable(m *pb.Match) bool {
	var f flaws
	f.match(m)
	return f.first == ""
}
