package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Server is one port of some pods of its namespace. A port that a Server selects is closed to whom nothing lets in.
//
// +kubebuilder:object:root=true
type Server struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              ServerSpec `json:"spec"`
	Status            Status     `json:"status,omitempty"`
}

// ServerSpec is what a Server says. Exactly one of the selectors is set; an empty one selects everything in the namespace.
type ServerSpec struct {
	PodSelector              *metav1.LabelSelector `json:"podSelector,omitempty"`
	ExternalWorkloadSelector *metav1.LabelSelector `json:"externalWorkloadSelector,omitempty"`
	// Port is the number of a container's port or its name.
	Port intstr.IntOrString `json:"port"`
	// ProxyProtocol is one of the Protocol constants; "" is ProtocolUnknown.
	ProxyProtocol string `json:"proxyProtocol,omitempty"`
	// AccessPolicy is what becomes of clients that nothing lets in: one of mesh.AccessPolicies; "" is deny.
	AccessPolicy string `json:"accessPolicy,omitempty"`
}

// What a Server may say of the protocol of its port. Only ProtocolUnknown has the first bytes looked at.
const (
	ProtocolUnknown = "unknown"
	ProtocolHTTP1   = "HTTP/1"
	ProtocolHTTP2   = "HTTP/2"
	ProtocolGRPC    = "gRPC"
	ProtocolOpaque  = "opaque"
	ProtocolTLS     = "TLS"
)

// ServerList is what the API server answers to a list.
//
// +kubebuilder:object:root=true
type ServerList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Server `json:"items"`
}
