package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// AuthorizationPolicy allows the clients that meet all its authentications to use its target. If several policies have
// one target, each allows its own clients.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=authorizationpolicies,shortName=authzpolicy
// +kubebuilder:printcolumn:name=Target_Kind,type=string,JSONPath=`.spec.targetRef.kind`
// +kubebuilder:printcolumn:name=Target_Name,type=string,JSONPath=`.spec.targetRef.name`
// +kubebuilder:printcolumn:name=Accepted,type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].status`
// +kubebuilder:printcolumn:name=Age,type=date,JSONPath=`.metadata.creationTimestamp`
type AuthorizationPolicy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              AuthorizationPolicySpec `json:"spec"`
	Status            Status                  `json:"status,omitempty"`
}

// AuthorizationPolicySpec is the spec of an AuthorizationPolicy.
type AuthorizationPolicySpec struct {
	// TargetRef is a Server, an HTTPRoute or a GRPCRoute of the policy's namespace, or that Namespace itself.
	//
	// +kubebuilder:validation:XValidation:rule="(has(self.group) ? self.group : '') + '/' + self.kind in ['policy.linkerd.io/Server', '/Namespace', 'core/Namespace', 'policy.linkerd.io/HTTPRoute', 'gateway.networking.k8s.io/HTTPRoute', 'gateway.networking.k8s.io/GRPCRoute']",message="want kind Server or HTTPRoute of group policy.linkerd.io, HTTPRoute or GRPCRoute of group gateway.networking.k8s.io, or Namespace of the core group"
	TargetRef LocalRef `json:"targetRef"`
	// RequiredAuthenticationRefs are a MeshTLSAuthentication or a ServiceAccount, and a NetworkAuthentication. An empty
	// list allows all clients.
	//
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:XValidation:rule="(has(self.group) ? self.group : '') + '/' + self.kind in ['policy.linkerd.io/MeshTLSAuthentication', 'policy.linkerd.io/NetworkAuthentication', '/ServiceAccount', 'core/ServiceAccount']",message="want kind MeshTLSAuthentication or NetworkAuthentication of group policy.linkerd.io, or ServiceAccount of the core group"
	// +kubebuilder:validation:XValidation:rule="self.filter(r, r.kind in ['MeshTLSAuthentication', 'ServiceAccount']).size() <= 1",message="all of the authentications have to be met at once, and a client has one identity: want at most one MeshTLSAuthentication or ServiceAccount; to let in several clients, list them in one MeshTLSAuthentication, or make one AuthorizationPolicy for each"
	// +kubebuilder:validation:XValidation:rule="self.filter(r, r.kind == 'NetworkAuthentication').size() <= 1",message="all of the authentications have to be met at once: want at most one NetworkAuthentication; list the networks in one"
	RequiredAuthenticationRefs []ObjectRef `json:"requiredAuthenticationRefs"`
}

// AuthorizationPolicyList is the API server's response to a list request.
//
// +kubebuilder:object:root=true
type AuthorizationPolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []AuthorizationPolicy `json:"items"`
}
