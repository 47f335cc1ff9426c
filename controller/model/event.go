package model

import (
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Event is one change of one object.
type Event struct {
	// Object is what the object is now, or last was if Deleted: *Service, *Pod, *Namespace, *Node of core/v1 or *EndpointSlice of
	// discovery/v1. It must not change afterwards.
	Object metav1.Object
	// Deleted says that the object is gone.
	Deleted bool
	// Synced says that every object that existed at the start has been seen. Object is nil then.
	Synced bool
}

// Change says what an event may have changed.
type Change struct {
	// Policy asks for a new Snapshot, and for new answers to every question.
	Policy bool
	// Addrs are the outbound addresses, on any port, whose answers may differ now.
	Addrs []netip.Addr
	// Pods are the pods whose inbound answers may differ now.
	Pods []PodName
	// Problems that the object has now and did not have before.
	Problems []Problem
}

// PodName names a pod.
type PodName struct{ Namespace, Name string }

// Problem is a mistake of a user in one object. The last good value, or the default if there was none, stays in force.
type Problem struct {
	Object ObjectRef
	// Field is the annotation or field that is wrong, and Message says why and what stays in force.
	Field   string
	Message string
}

// ObjectRef names an object for people.
type ObjectRef struct {
	Kind, Namespace, Name string
	UID                   types.UID
}

// Apply records the event and returns what it may have changed. An object of a kind it does not know changes nothing.
func (s *Store) Apply(e Event) Change {
	switch o := e.Object.(type) {
	case *corev1.Service:
		return s.applyService(o, e.Deleted)
	case *discoveryv1.EndpointSlice:
		return s.applySlice(o, e.Deleted)
	case *corev1.Pod:
		return s.applyPod(o, e.Deleted)
	case *corev1.Namespace:
		return s.applyNamespace(o, e.Deleted)
	case *corev1.Node:
		return s.applyNode(o, e.Deleted)
	}
	return Change{}
}
