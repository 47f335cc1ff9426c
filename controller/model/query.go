package model

import (
	"k8s.io/apimachinery/pkg/types"

	"github.com/tulle-mesh/tulle/mesh"
)

// Query is a target and as much of its client as the answer depends on, so that the proxies of a zone share one answer.
// The part about the client is filled by QueryFor.
type Query struct {
	Target mesh.Target
	// Of an outbound target: where the client is.
	Zone, Node string
	// Of an outbound target: the client's namespace, if it has routes or a profile of its own for the target.
	Namespace string
	// Of the inbound target: which pod the client is.
	Pod types.NamespacedName
}

// Answer is what a proxy gets. One field is set; neither, if there is no answer: then the last one stays active.
type Answer struct {
	Outbound *mesh.Outbound
	Inbound  *mesh.Inbound
}

// QueryFor returns the query of a client about a target. It changes with the store and the snapshot: a Service that
// begins to prefer endpoints on the same node makes one query into as many as there are nodes.
func QueryFor(s *Store, snap *Snapshot, target mesh.Target, client mesh.Client) Query {
	q := Query{Target: target}
	if target.IsInbound() {
		q.Pod = types.NamespacedName{Namespace: client.Namespace, Name: client.Pod}
		return q
	}
	addr := target.Addr.Addr()
	svc := s.serviceByIP[addr]
	if svc == nil && s.podAt(addr) == nil {
		return q
	}
	q.Zone = snap.zones[client.Node]
	if svc == nil {
		return q
	}
	if s.dependsOnNode(svc) || s.sendsToNodes(svc) {
		q.Node = client.Node
	}
	if s.dependsOnNamespace(svc, client.Namespace) {
		q.Namespace = client.Namespace
	}
	return q
}

// Resolve returns the answer to q. Its cost is that of the target, whatever else the store holds.
func Resolve(s *Store, snap *Snapshot, q Query) Answer {
	r := resolver{s, snap, q}
	if q.Target.IsInbound() {
		return Answer{Inbound: r.inbound()}
	}
	addr := q.Target.Addr.Addr()
	if svc := s.serviceByIP[addr]; svc != nil {
		return Answer{Outbound: r.service(svc)}
	}
	if p := s.podAt(addr); p != nil {
		return Answer{Outbound: r.pod(p)}
	}
	return Answer{Outbound: &mesh.Outbound{Kind: mesh.Unknown}}
}

// resolver holds what the steps of one Resolve share.
type resolver struct {
	store *Store
	snap  *Snapshot
	q     Query
}

// Where returns the node and ServiceAccount of a running pod; ok is false for a pod that the store does not know.
func (s *Store) Where(p types.NamespacedName) (node, serviceAccount string, ok bool) {
	rec := s.pods[types.NamespacedName{Namespace: p.Namespace, Name: p.Name}]
	if rec == nil {
		return "", "", false
	}
	return rec.Node, rec.Ref.ServiceAccount, true
}

// Equal reports whether two answers would make a proxy behave alike.
func (a Answer) Equal(b Answer) bool {
	return a.Outbound.Equal(b.Outbound) && a.Inbound.Equal(b.Inbound)
}
