package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// ServerAuthorization authorizes clients of Servers in its namespace.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=saz;serverauthz;srvauthz
// +kubebuilder:printcolumn:name=Server,type=string,JSONPath=`.spec.server.name`
// +kubebuilder:printcolumn:name=Accepted,type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].status`
// +kubebuilder:printcolumn:name=Age,type=date,JSONPath=`.metadata.creationTimestamp`
type ServerAuthorization struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              ServerAuthorizationSpec `json:"spec"`
	Status            Status                  `json:"status,omitempty"`
}

// ServerAuthorizationSpec is the spec of a ServerAuthorization.
type ServerAuthorizationSpec struct {
	Server ServerSelection `json:"server"`
	Client ClientSelection `json:"client"`
}

// ServerSelection selects Servers. Exactly one of its fields is set.
//
// +kubebuilder:validation:XValidation:rule="has(self.name) != has(self.selector)",message="want either the name of a Server or a selector of Servers, and not both"
type ServerSelection struct {
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name     string                `json:"name,omitempty"`
	Selector *metav1.LabelSelector `json:"selector,omitempty"`
}

// ClientSelection selects the authorized clients. If Networks has entries, a client's address must be in one.
// Unauthenticated allows all clients; otherwise a client must meet MeshTLS.
//
// +kubebuilder:validation:XValidation:rule="!(has(self.unauthenticated) && self.unauthenticated) || !has(self.meshTLS)",message="unauthenticated lets everybody in, so meshTLS would ask for nothing; remove one of the two"
// +kubebuilder:validation:XValidation:rule="(has(self.unauthenticated) && self.unauthenticated) || has(self.meshTLS)",message="nobody is let in: add meshTLS with the clients that may come in, or unauthenticated: true for all"
type ClientSelection struct {
	// +kubebuilder:validation:MaxItems=256
	Networks        []Network     `json:"networks,omitempty"`
	Unauthenticated bool          `json:"unauthenticated,omitempty"`
	MeshTLS         *MeshTLSProof `json:"meshTLS,omitempty"`
}

// MeshTLSProof is what a client must prove: only TLS, or one of Identities or ServiceAccounts.
//
// +kubebuilder:validation:XValidation:rule="!(has(self.unauthenticatedTLS) && self.unauthenticatedTLS) || !has(self.identities) && !has(self.serviceAccounts)",message="unauthenticatedTLS asks for no identity; remove it, or identities and serviceAccounts"
// +kubebuilder:validation:XValidation:rule="(has(self.unauthenticatedTLS) && self.unauthenticatedTLS) || has(self.identities) && size(self.identities) > 0 || has(self.serviceAccounts) && size(self.serviceAccounts) > 0",message="nobody is let in: add identities or serviceAccounts; identities: ['*'] is every client with an identity"
type MeshTLSProof struct {
	UnauthenticatedTLS bool `json:"unauthenticatedTLS,omitempty"`
	// +kubebuilder:validation:MaxItems=1024
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=512
	// +kubebuilder:validation:items:XValidation:rule="self == '*' || self.startsWith('spiffe://') || self.matches('^[^/]+/ns/[^/]+/sa/[^/]+$') || self.matches('^([*]|[a-z0-9]([-a-z0-9]*[a-z0-9])?)([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",message="want an identity such as web.shop.serviceaccount.identity.tulle.cluster.local or spiffe://cluster.local/ns/shop/sa/web, or * for any client with an identity"
	Identities []string `json:"identities,omitempty"`
	// +kubebuilder:validation:MaxItems=1024
	ServiceAccounts []ServiceAccountRef `json:"serviceAccounts,omitempty"`
}

// ServiceAccountRef names a ServiceAccount. Namespace "" is that of the ServerAuthorization.
type ServiceAccountRef struct {
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace,omitempty"`
}

// ServerAuthorizationList is the API server's response to a list request.
//
// +kubebuilder:object:root=true
type ServerAuthorizationList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ServerAuthorization `json:"items"`
}
