package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Server is one port of some pods of its namespace. A port that a Server selects accepts only authorized clients.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=srv
// +kubebuilder:printcolumn:name=Port,type=string,JSONPath=`.spec.port`
// +kubebuilder:printcolumn:name=Protocol,type=string,JSONPath=`.spec.proxyProtocol`
// +kubebuilder:printcolumn:name="Access Policy",type=string,JSONPath=`.spec.accessPolicy`
// +kubebuilder:printcolumn:name=Accepted,type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].status`
// +kubebuilder:printcolumn:name=Age,type=date,JSONPath=`.metadata.creationTimestamp`
type Server struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              ServerSpec `json:"spec"`
	Status            Status     `json:"status,omitempty"`
}

// ServerSpec is the spec of a Server. Exactly one of the selectors is set. An empty selector selects everything in the
// namespace.
//
// +kubebuilder:validation:XValidation:rule="has(self.podSelector) != has(self.externalWorkloadSelector)",message="want either podSelector or externalWorkloadSelector, and not both; podSelector: {} selects every pod of the namespace"
// +kubebuilder:validation:XValidation:rule="type(self.port) == int ? self.port > 0 && self.port < 65536 : string(self.port).matches('^[a-z0-9]([a-z0-9-]{0,13}[a-z0-9])?$') && string(self.port).matches('[a-z]')",fieldPath=".port",message="want the number of a container's port from 1 to 65535, without quotes, or the name of one, which has a letter in it"
type ServerSpec struct {
	PodSelector              *metav1.LabelSelector `json:"podSelector,omitempty"`
	ExternalWorkloadSelector *metav1.LabelSelector `json:"externalWorkloadSelector,omitempty"`
	// Port is the number of a container's port or its name.
	Port intstr.IntOrString `json:"port"`
	// ProxyProtocol is one of the Protocol constants; "" is ProtocolUnknown.
	//
	// +kubebuilder:default=unknown
	// +kubebuilder:validation:Enum=unknown;HTTP/1;HTTP/2;gRPC;opaque;TLS
	ProxyProtocol string `json:"proxyProtocol,omitempty"`
	// AccessPolicy applies to clients that no policy authorizes. It is one of mesh.AccessPolicies; "" means deny.
	//
	// +kubebuilder:default=deny
	// +kubebuilder:validation:Enum=deny;all-unauthenticated;all-authenticated;cluster-unauthenticated;cluster-authenticated;audit
	AccessPolicy string `json:"accessPolicy,omitempty"`
}

// The protocols of a Server's port. Only with ProtocolUnknown the proxy detects the protocol from the first bytes.
const (
	ProtocolUnknown = "unknown"
	ProtocolHTTP1   = "HTTP/1"
	ProtocolHTTP2   = "HTTP/2"
	ProtocolGRPC    = "gRPC"
	ProtocolOpaque  = "opaque"
	ProtocolTLS     = "TLS"
)

// ServerList is the API server's response to a list request.
//
// +kubebuilder:object:root=true
type ServerList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Server `json:"items"`
}
