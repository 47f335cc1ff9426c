package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// AuthorizationPolicy lets the clients in to its target that meet all of the authentications. Several policies on one target each let
// in their own.
//
// +kubebuilder:object:root=true
type AuthorizationPolicy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              AuthorizationPolicySpec `json:"spec"`
	Status            Status                  `json:"status,omitempty"`
}

// AuthorizationPolicySpec is what an AuthorizationPolicy says.
type AuthorizationPolicySpec struct {
	// TargetRef is a Server, an HTTPRoute or a GRPCRoute of the policy's namespace, or that Namespace itself.
	TargetRef LocalRef `json:"targetRef"`
	// RequiredAuthenticationRefs are a MeshTLSAuthentication or a ServiceAccount, and a NetworkAuthentication. None lets everybody in.
	RequiredAuthenticationRefs []ObjectRef `json:"requiredAuthenticationRefs"`
}

// AuthorizationPolicyList is what the API server answers to a list.
//
// +kubebuilder:object:root=true
type AuthorizationPolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []AuthorizationPolicy `json:"items"`
}
