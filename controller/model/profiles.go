package model

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/types"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/controller/compile"
	"github.com/tulle-mesh/tulle/crds/v1alpha1"
	"github.com/tulle-mesh/tulle/mesh"
)

// profile is the record of a ServiceProfile. All of it but resolved never changes.
type profile struct {
	objectKey
	uid        types.UID
	generation int64
	// service is the Service that the name means; zero if it means none of this cluster.
	service types.NamespacedName
	// latest is what the object says now. active is what applies, as in a route.
	latest, active *compile.Profile
	resolved       *mesh.Profile
}

func (s *Store) applyProfile(o *v1alpha1.ServiceProfile, e Event) Change {
	key := compile.NameOf(o)
	var change Change
	old := s.profiles[key]
	if old != nil {
		delete(s.profiles, key)
		s.indexProfile(old, false)
		s.touchProfile(old, &change)
	}
	if e.Deleted {
		s.outcomes.touch(objectKey{compile.KindServiceProfile.Group, compile.KindServiceProfile.Kind, key})
	} else {
		now := s.newProfile(o, e, old)
		s.profiles[key] = now
		s.indexProfile(now, true)
		s.touchProfile(now, &change)
	}
	change.Addrs = unique(change.Addrs)
	return change
}

func (s *Store) newProfile(o *v1alpha1.ServiceProfile, e Event, prior *profile) *profile {
	p := &profile{
		objectKey: objectKey{compile.KindServiceProfile.Group, compile.KindServiceProfile.Kind, compile.NameOf(o)},
		uid:       o.UID, generation: o.Generation,
		service: compile.ServiceNamed(o.Name, s.config.ClusterDomain),
	}
	p.latest = compile.ParseServiceProfile(o, s.config.ClusterDomain)
	p.latest.Findings.IgnoreUnknownFields(e.Unknown)
	p.active = p.latest
	if prior != nil && prior.uid == p.uid && p.latest.HasMistakes() && !prior.active.HasMistakes() {
		p.active = prior.active
	}
	return p
}

func (s *Store) indexProfile(p *profile, add bool) {
	if p.service != (types.NamespacedName{}) {
		relink(s.profilesByService, p.service, p, add)
	}
	for _, use := range p.active.References {
		relink(s.senders, types.NamespacedName{Namespace: use.Namespace, Name: use.Name}, sender(p), add)
	}
}

func (p *profile) parentServices(f func(types.NamespacedName)) { f(p.service) }

func (p *profile) touch(s *Store) {
	p.resolved = nil
	s.outcomes.touch(p.objectKey)
}

func (s *Store) touchProfile(p *profile, change *Change) {
	p.touch(s)
	s.touchRoutesOf(p.service)
	change.Addrs = append(change.Addrs, s.clusterIPs(p.service)...)
}

// profileFor returns the profile that holds for the clients of a namespace: their own, else that of the Service's
// namespace.
func (s *Store) profileFor(svc *compile.Service, namespace string) *profile {
	var own, producer *profile
	for _, p := range s.profilesByService[svc.NamespacedName] {
		switch p.Namespace {
		case namespace:
			own = p
		case svc.Namespace:
			producer = p
		}
	}
	if own != nil {
		return own
	}
	return producer
}

// resolvedProfile returns p with its overrides looked up.
func (s *Store) resolvedProfile(p *profile) *mesh.Profile {
	if p.resolved != nil {
		return p.resolved
	}
	out := p.active.Mesh
	out.Overrides = slices.Clone(out.Overrides)
	for i := range out.Overrides {
		if b := &out.Overrides[i]; b.Invalid == "" {
			_, b.Invalid = s.exists(b.Service)
		}
	}
	p.resolved = &out
	return p.resolved
}

// exists says why there is nothing to send to at to; both "" if there is.
func (s *Store) exists(to mesh.ServiceRef) (reason gatewayv1.RouteConditionReason, message string) {
	svc := s.services[types.NamespacedName{Namespace: to.Namespace, Name: to.Name}]
	if svc == nil {
		return gatewayv1.RouteReasonBackendNotFound, fmt.Sprintf("there is no Service %s in namespace %s", to.Name,
			to.Namespace)
	}
	if svc.External {
		return gatewayv1.RouteReasonBackendNotFound,
			fmt.Sprintf("Service %s in namespace %s is of type ExternalName and has no endpoints", to.Name,
				to.Namespace)
	}
	if _, ok := svc.Port(to.Port); !ok {
		return gatewayv1.RouteReasonBackendNotFound, fmt.Sprintf("Service %s in namespace %s has no TCP port %d", to.Name,
			to.Namespace, to.Port)
	}
	return "", ""
}
