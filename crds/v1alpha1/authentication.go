package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// MeshTLSAuthentication is met by a client whose certificate names one of the identities.
//
// +kubebuilder:object:root=true
type MeshTLSAuthentication struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              MeshTLSAuthenticationSpec `json:"spec"`
	Status            Status                    `json:"status,omitempty"`
}

// MeshTLSAuthenticationSpec is what a MeshTLSAuthentication says. Exactly one of its fields is set.
type MeshTLSAuthenticationSpec struct {
	// Identities in any of the three spellings, "*" for all, or with "*" in the place of a first part.
	Identities   []string      `json:"identities,omitempty"`
	IdentityRefs []IdentityRef `json:"identityRefs,omitempty"`
}

// IdentityRef names a ServiceAccount, or a Namespace for all that are in it. Without Name it is all of the kind in Namespace, "" being
// the namespace of the object that holds the IdentityRef.
type IdentityRef struct {
	// Group is "" for the core group, which may also be spelled "core".
	Group     string `json:"group,omitempty"`
	Kind      string `json:"kind"`
	Name      string `json:"name,omitempty"`
	Namespace string `json:"namespace,omitempty"`
}

// MeshTLSAuthenticationList is what the API server answers to a list.
//
// +kubebuilder:object:root=true
type MeshTLSAuthenticationList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []MeshTLSAuthentication `json:"items"`
}

// NetworkAuthentication is met by a client whose address is in one of the networks.
//
// +kubebuilder:object:root=true
type NetworkAuthentication struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              NetworkAuthenticationSpec `json:"spec"`
	Status            Status                    `json:"status,omitempty"`
}

// NetworkAuthenticationSpec is what a NetworkAuthentication says.
type NetworkAuthenticationSpec struct {
	Networks []Network `json:"networks"`
}

// NetworkAuthenticationList is what the API server answers to a list.
//
// +kubebuilder:object:root=true
type NetworkAuthenticationList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []NetworkAuthentication `json:"items"`
}
