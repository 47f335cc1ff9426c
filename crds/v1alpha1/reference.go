package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// LocalRef names an object in the namespace of the object that holds it.
type LocalRef struct {
	// Group is "" for the core group, which may also be spelled "core".
	Group string `json:"group,omitempty"`
	Kind  string `json:"kind"`
	Name  string `json:"name"`
}

// ObjectRef names an object. Namespace "" is that of the object that holds the ObjectRef.
type ObjectRef struct {
	// Group is "" for the core group, which may also be spelled "core".
	Group     string `json:"group,omitempty"`
	Kind      string `json:"kind"`
	Name      string `json:"name"`
	Namespace string `json:"namespace,omitempty"`
}

// Network is a network, or a single address, without the parts of it in Except.
type Network struct {
	CIDR   string   `json:"cidr"`
	Except []string `json:"except,omitempty"`
}

// Status is the status of every kind but the routes, which have one per parent.
type Status struct {
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}
