package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// HTTPLocalRateLimitPolicy bounds the requests to a Server that each proxy allows.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=httplocalratelimitpolicies
// +kubebuilder:printcolumn:name=Target_kind,type=string,JSONPath=`.spec.targetRef.kind`
// +kubebuilder:printcolumn:name=Target_name,type=string,JSONPath=`.spec.targetRef.name`
// +kubebuilder:printcolumn:name=Total_RPS,type=number,JSONPath=`.spec.total.requestsPerSecond`
// +kubebuilder:printcolumn:name=Identity_RPS,type=number,JSONPath=`.spec.identity.requestsPerSecond`
// +kubebuilder:printcolumn:name=Accepted,type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].status`
// +kubebuilder:printcolumn:name=Age,type=date,JSONPath=`.metadata.creationTimestamp`
type HTTPLocalRateLimitPolicy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              HTTPLocalRateLimitPolicySpec   `json:"spec"`
	Status            HTTPLocalRateLimitPolicyStatus `json:"status,omitempty"`
}

// HTTPLocalRateLimitPolicySpec is the spec of an HTTPLocalRateLimitPolicy.
//
// +kubebuilder:validation:XValidation:rule="!has(self.total) || !has(self.identity) || self.identity.requestsPerSecond <= self.total.requestsPerSecond",fieldPath=".identity.requestsPerSecond",message="one client may not have more than total, which is for all clients together; lower identity or raise total"
// +kubebuilder:validation:XValidation:rule="!has(self.total) || !has(self.overrides) || self.overrides.all(o, o.requestsPerSecond <= self.total.requestsPerSecond)",fieldPath=".overrides",message="one client may not have more than total, which is for all clients together; lower the override or raise total"
type HTTPLocalRateLimitPolicySpec struct {
	// TargetRef is a Server of the policy's namespace.
	//
	// +kubebuilder:validation:XValidation:rule="self.kind == 'Server' && has(self.group) && self.group == 'policy.linkerd.io'",message="want group policy.linkerd.io and kind Server: requests are counted where they come in"
	TargetRef LocalRef `json:"targetRef"`
	// Total applies to all clients together, and Identity to each client separately.
	Total    *RateLimit `json:"total,omitempty"`
	Identity *RateLimit `json:"identity,omitempty"`
	// Overrides replace Identity for the clients that they name.
	//
	// +kubebuilder:validation:MaxItems=256
	Overrides []RateLimitOverride `json:"overrides,omitempty"`
}

// RateLimit is a bound on the rate of requests.
type RateLimit struct {
	// RequestsPerSecond may be a fraction: 0.5 is one request in two seconds. Linkerd allows only whole numbers.
	//
	// +kubebuilder:validation:XValidation:rule="self > 0.0",message="want more than 0; to let nobody in, use an AuthorizationPolicy"
	RequestsPerSecond float64 `json:"requestsPerSecond"`
}

// RateLimitOverride is the bound for each of some clients. The clients are ServiceAccounts.
type RateLimitOverride struct {
	// +kubebuilder:validation:XValidation:rule="self > 0.0",message="want more than 0; to let nobody in, use an AuthorizationPolicy"
	RequestsPerSecond float64 `json:"requestsPerSecond"`
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:XValidation:rule="self.kind == 'ServiceAccount' && (!has(self.group) || self.group in ['', 'core'])",message="want kind ServiceAccount of the core group: a client is told by its identity"
	ClientRefs []ObjectRef `json:"clientRefs"`
}

// HTTPLocalRateLimitPolicyStatus repeats the target next to the conditions, as Linkerd does.
type HTTPLocalRateLimitPolicyStatus struct {
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// +optional
	TargetRef LocalRef `json:"targetRef"`
}

// HTTPLocalRateLimitPolicyList is the API server's response to a list request.
//
// +kubebuilder:object:root=true
type HTTPLocalRateLimitPolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []HTTPLocalRateLimitPolicy `json:"items"`
}
