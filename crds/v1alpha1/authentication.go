package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// MeshTLSAuthentication accepts a client whose certificate has one of the identities.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=meshtlsauthn
// +kubebuilder:printcolumn:name=Accepted,type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].status`
// +kubebuilder:printcolumn:name=Age,type=date,JSONPath=`.metadata.creationTimestamp`
type MeshTLSAuthentication struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              MeshTLSAuthenticationSpec `json:"spec"`
	Status            Status                    `json:"status,omitempty"`
}

// MeshTLSAuthenticationSpec is the spec of a MeshTLSAuthentication. Exactly one of its fields is set.
//
// +kubebuilder:validation:XValidation:rule="has(self.identities) != has(self.identityRefs)",message="want either identities or identityRefs, and not both; make two MeshTLSAuthentications and an AuthorizationPolicy for each"
type MeshTLSAuthenticationSpec struct {
	// Identities are identities in any of the three spellings. "*" means all; "*" may also replace the first part of a
	// name.
	//
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=1024
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=512
	// +kubebuilder:validation:items:XValidation:rule="self == '*' || self.startsWith('spiffe://') || self.matches('^[^/]+/ns/[^/]+/sa/[^/]+$') || self.matches('^([*]|[a-z0-9]([-a-z0-9]*[a-z0-9])?)([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",message="want an identity such as web.shop.serviceaccount.identity.tulle.cluster.local or spiffe://cluster.local/ns/shop/sa/web, or * for any client with an identity"
	Identities []string `json:"identities,omitempty"`
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=1024
	IdentityRefs []IdentityRef `json:"identityRefs,omitempty"`
}

// IdentityRef names a ServiceAccount, or a Namespace for all its ServiceAccounts. Without Name it means all
// ServiceAccounts of Namespace. Namespace "" is that of the object with the IdentityRef.
//
// +kubebuilder:validation:XValidation:rule="self.kind in ['ServiceAccount', 'Namespace'] && (!has(self.group) || size(self.group) == 0 || self.group == 'core')",message="want kind ServiceAccount or Namespace of the core group: an identity is a ServiceAccount's"
// +kubebuilder:validation:XValidation:rule="self.kind != 'Namespace' || has(self.name)",message="a Namespace is referred to by name: add name"
type IdentityRef struct {
	// Group is "" for the core group, which may also be spelled "core".
	//
	// +kubebuilder:validation:MaxLength=253
	Group string `json:"group,omitempty"`
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Kind string `json:"kind"`
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace,omitempty"`
}

// MeshTLSAuthenticationList is the API server's response to a list request.
//
// +kubebuilder:object:root=true
type MeshTLSAuthenticationList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []MeshTLSAuthentication `json:"items"`
}

// NetworkAuthentication accepts a client whose address is in one of the networks.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=netauthn;networkauthn
// +kubebuilder:printcolumn:name=Accepted,type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].status`
// +kubebuilder:printcolumn:name=Age,type=date,JSONPath=`.metadata.creationTimestamp`
type NetworkAuthentication struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              NetworkAuthenticationSpec `json:"spec"`
	Status            Status                    `json:"status,omitempty"`
}

// NetworkAuthenticationSpec is the spec of a NetworkAuthentication.
type NetworkAuthenticationSpec struct {
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	Networks []Network `json:"networks"`
}

// NetworkAuthenticationList is the API server's response to a list request.
//
// +kubebuilder:object:root=true
type NetworkAuthenticationList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []NetworkAuthentication `json:"items"`
}
