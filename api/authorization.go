package api

import (
	"fmt"
	"math"
	"net/netip"

	"google.golang.org/protobuf/proto"

	"github.com/tulle-mesh/tulle/api/pb"
	"github.com/tulle-mesh/tulle/mesh"
)

// encodeRef returns nil for the zero Ref.
func encodeRef(r mesh.Ref) *pb.Ref {
	if r == (mesh.Ref{}) {
		return nil
	}
	return &pb.Ref{Group: r.Group, Kind: r.Kind, Namespace: r.Namespace, Name: r.Name}
}

func decodeRef(r *pb.Ref) mesh.Ref {
	return mesh.Ref{Group: r.GetGroup(), Kind: r.GetKind(), Namespace: r.GetNamespace(), Name: r.GetName()}
}

func encodeAuthorizations(list []mesh.Authorization) []*pb.Authorization {
	return mapped(list, encodeAuthorization)
}

func encodeAuthorization(a mesh.Authorization) *pb.Authorization {
	out := &pb.Authorization{Ref: encodeRef(a.Ref), Clients: pb.Authorization_Clients(a.Clients)}
	for _, n := range a.Networks {
		network := &pb.Network{Prefix: encodePrefix(n.Net)}
		for _, except := range n.Except {
			network.Except = append(network.Except, encodePrefix(except))
		}
		out.Networks = append(out.Networks, network)
	}
	for _, m := range a.Identities {
		out.Identities = append(out.Identities, &pb.IdentityMatch{
			TrustDomain: m.TrustDomain, Namespace: m.Namespace, ServiceAccount: m.ServiceAccount,
		})
	}
	return out
}

func decodeAuthorizations(list []*pb.Authorization) ([]mesh.Authorization, error) {
	if len(list) == 0 {
		return nil, nil
	}
	out := make([]mesh.Authorization, len(list))
	for i, a := range list {
		var err error
		if out[i], err = decodeAuthorization(a); err != nil {
			return nil, fmt.Errorf("authorization %s %s: %w", a.GetRef().GetKind(), a.GetRef().GetName(), err)
		}
	}
	return out, nil
}

// decodeAuthorization fails closed: a demand that this release cannot make must not be dropped.
func decodeAuthorization(a *pb.Authorization) (mesh.Authorization, error) {
	out := mesh.Authorization{Ref: decodeRef(a.GetRef())}
	if !understood(a) {
		return out, nil // NamedClients without identities is nobody
	}
	networks, err := decodeNetworks(a.GetNetworks())
	if err != nil {
		return mesh.Authorization{}, err
	}
	out.Networks, out.Clients = networks, mesh.ClientKind(a.GetClients())
	for _, m := range a.GetIdentities() {
		out.Identities = append(out.Identities, mesh.IdentityMatch{
			TrustDomain: m.GetTrustDomain(), Namespace: m.GetNamespace(), ServiceAccount: m.GetServiceAccount(),
		})
	}
	return out, nil
}

// understood reports whether this release knows every part of a.
func understood(a *pb.Authorization) bool {
	known := a.GetClients() >= pb.Authorization_NAMED && a.GetClients() <= pb.Authorization_ANY && complete(a)
	for _, n := range a.GetNetworks() {
		known = known && complete(n) && complete(n.GetPrefix())
		for _, except := range n.GetExcept() {
			known = known && complete(except)
		}
	}
	for _, m := range a.GetIdentities() {
		known = known && complete(m)
	}
	return known
}

// complete reports whether a message holds no field that this release does not know.
func complete(m proto.Message) bool { return len(m.ProtoReflect().GetUnknown()) == 0 }

func decodeNetworks(list []*pb.Network) ([]mesh.Network, error) {
	var out []mesh.Network
	for _, n := range list {
		prefix, err := decodePrefix(n.GetPrefix())
		if err != nil {
			return nil, err
		}
		except, err := decodePrefixes(n.GetExcept())
		if err != nil {
			return nil, fmt.Errorf("except of %s: %w", prefix, err)
		}
		out = append(out, mesh.Network{Net: prefix, Except: except})
	}
	return out, nil
}

func decodePrefixes(list []*pb.Prefix) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, p := range list {
		prefix, err := decodePrefix(p)
		if err != nil {
			return nil, err
		}
		out = append(out, prefix)
	}
	return out, nil
}

func encodeRateLimit(l *mesh.RateLimit) *pb.RateLimit {
	if l == nil {
		return nil
	}
	out := &pb.RateLimit{Ref: encodeRef(l.Ref), Total: l.Total, Identity: l.Identity}
	for _, o := range l.Overrides {
		override := &pb.RateLimit_Override{PerSecond: o.PerSecond}
		for _, id := range o.Identities {
			override.Identities = append(override.Identities, id.String())
		}
		out.Overrides = append(out.Overrides, override)
	}
	return out
}

func decodeRateLimit(l *pb.RateLimit) (*mesh.RateLimit, error) {
	if l == nil {
		return nil, nil
	}
	out := &mesh.RateLimit{Ref: decodeRef(l.GetRef())}
	var err error
	if out.Total, err = decodeRate(l.GetTotal()); err != nil {
		return nil, err
	}
	if out.Identity, err = decodeRate(l.GetIdentity()); err != nil {
		return nil, err
	}
	for i, o := range l.GetOverrides() {
		override, err := decodeOverride(o)
		if err != nil {
			return nil, fmt.Errorf("override %d: %w", i, err)
		}
		out.Overrides = append(out.Overrides, override)
	}
	return out, nil
}

func decodeOverride(o *pb.RateLimit_Override) (mesh.RateOverride, error) {
	rate, err := decodeRate(o.GetPerSecond())
	if err != nil {
		return mesh.RateOverride{}, err
	}
	out := mesh.RateOverride{PerSecond: rate}
	for _, s := range o.GetIdentities() {
		id, err := decodeID(s)
		if err == nil && id.IsZero() {
			err = fmt.Errorf("identity %q: %w", s, mesh.ErrNotID)
		}
		if err != nil {
			return mesh.RateOverride{}, err
		}
		out.Identities = append(out.Identities, id)
	}
	return out, nil
}

func decodeRate(perSecond float64) (float64, error) {
	if !(perSecond >= 0) || math.IsInf(perSecond, 1) {
		return 0, fmt.Errorf("%v requests a second: want 0 or more", perSecond)
	}
	return perSecond, nil
}
