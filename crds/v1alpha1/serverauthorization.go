package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// ServerAuthorization lets clients in to Servers of its namespace.
//
// +kubebuilder:object:root=true
type ServerAuthorization struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              ServerAuthorizationSpec `json:"spec"`
	Status            Status                  `json:"status,omitempty"`
}

// ServerAuthorizationSpec is what a ServerAuthorization says.
type ServerAuthorizationSpec struct {
	Server ServerSelection `json:"server"`
	Client ClientSelection `json:"client"`
}

// ServerSelection has exactly one of its fields set.
type ServerSelection struct {
	Name     string                `json:"name,omitempty"`
	Selector *metav1.LabelSelector `json:"selector,omitempty"`
}

// ClientSelection says who comes in: from Networks, if there are any, and either everybody (Unauthenticated) or who proves what
// MeshTLS asks for.
type ClientSelection struct {
	Networks        []Network     `json:"networks,omitempty"`
	Unauthenticated bool          `json:"unauthenticated,omitempty"`
	MeshTLS         *MeshTLSProof `json:"meshTLS,omitempty"`
}

// MeshTLSProof is what a client has to prove: nothing more than TLS, or to be one of Identities or ServiceAccounts.
type MeshTLSProof struct {
	UnauthenticatedTLS bool                `json:"unauthenticatedTLS,omitempty"`
	Identities         []string            `json:"identities,omitempty"`
	ServiceAccounts    []ServiceAccountRef `json:"serviceAccounts,omitempty"`
}

// ServiceAccountRef names a ServiceAccount. Namespace "" is that of the ServerAuthorization.
type ServiceAccountRef struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace,omitempty"`
}

// ServerAuthorizationList is what the API server answers to a list.
//
// +kubebuilder:object:root=true
type ServerAuthorizationList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ServerAuthorization `json:"items"`
}
