package model

import (
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"

	"github.com/tulle-mesh/tulle/controller/compile"
	"github.com/tulle-mesh/tulle/mesh"
)

// Snapshot is what follows from namespaces, nodes and the installation's defaults: it may touch every answer. It is
// immutable.
type Snapshot struct {
	namespaces map[string]defaults
	fallback   defaults // of a namespace that says nothing, or is not known yet
	zones      map[string]string
	revoked    mesh.Revoked
}

// defaults is what holds for the pods and Services of a namespace that say nothing themselves.
type defaults struct {
	opaque          mesh.PortSet
	opaqueNames     []string // of further ports, where an object has such
	requireIdentity mesh.PortSet
	policy          mesh.AccessPolicy
}

// opaqueOf returns the opaque ports of an object that says nothing about them itself.
func (d defaults) opaqueOf(named mesh.PortNames) mesh.PortSet {
	set := d.opaque
	for _, n := range d.opaqueNames {
		for _, port := range named(n) {
			set = set.With(port)
		}
	}
	return set
}

// BuildSnapshot derives a Snapshot from the whole store.
func BuildSnapshot(s *Store) *Snapshot {
	snap := &Snapshot{
		namespaces: make(map[string]defaults, len(s.namespaces)),
		fallback:   defaults{opaque: s.config.DefaultOpaquePorts, policy: s.config.DefaultPolicy},
		zones:      maps.Clone(s.zones),
		revoked:    s.revoked,
	}
	for n, own := range s.namespaces {
		d := snap.fallback
		if own.Opaque != nil {
			d.opaque, d.opaqueNames = *own.Opaque, own.OpaqueNames
		}
		if own.RequireIdentity != nil {
			d.requireIdentity = *own.RequireIdentity
		}
		if own.Policy != "" {
			d.policy = own.Policy
		}
		snap.namespaces[n] = d
	}
	return snap
}

func (snap *Snapshot) defaults(namespace string) defaults {
	if d, ok := snap.namespaces[namespace]; ok {
		return d
	}
	return snap.fallback
}

func (s *Store) applyNamespace(o *corev1.Namespace, deleted bool) Change {
	old, known := s.namespaces[o.Name]
	if deleted {
		delete(s.namespaces, o.Name)
		return Change{Snapshot: known}
	}
	now := compile.ParseSettings(o, nil, old)
	s.namespaces[o.Name] = now
	change := Change{Snapshot: !now.Equal(old)}
	if o.Name == s.config.ControlPlaneNamespace {
		s.applyRevoked(o, &change)
	}
	change.report(refOf("Namespace", o), newFindings(old.Findings, now.Findings))
	return change
}

// applyRevoked reads whom proxies refuse. An entry that makes no sense has no effect, and the others do: a typing
// mistake must not let anybody in again.
func (s *Store) applyRevoked(o *corev1.Namespace, change *Change) {
	revoked, errs := mesh.ParseRevoked(o.Annotations[mesh.RevokedAnnotation], s.config.TrustDomain)
	if text := fmt.Sprint(errs); text != s.revokedErrors {
		s.revokedErrors = text
		for _, err := range errs {
			change.report(refOf("Namespace", o), compile.Findings{{Path: mesh.RevokedAnnotation, Message: err.Error() +
				"; it has no effect", Severity: compile.Invalid, Reason: compile.ReasonInvalid}})
		}
	}
	if !revoked.Equal(s.revoked) {
		s.revoked, change.Snapshot = revoked, true
	}
}

func (s *Store) applyNode(o *corev1.Node, deleted bool) Change {
	old, known := s.zones[o.Name]
	if deleted {
		delete(s.zones, o.Name)
		return Change{Snapshot: known && old != ""}
	}
	zone := o.Labels[corev1.LabelTopologyZone]
	s.zones[o.Name] = zone
	return Change{Snapshot: zone != old}
}
