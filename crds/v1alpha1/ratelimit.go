package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// HTTPLocalRateLimitPolicy bounds the requests that each proxy lets in to a Server.
//
// +kubebuilder:object:root=true
type HTTPLocalRateLimitPolicy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              HTTPLocalRateLimitPolicySpec   `json:"spec"`
	Status            HTTPLocalRateLimitPolicyStatus `json:"status,omitempty"`
}

// HTTPLocalRateLimitPolicySpec is what an HTTPLocalRateLimitPolicy says. At least one bound is set.
type HTTPLocalRateLimitPolicySpec struct {
	// TargetRef is a Server of the policy's namespace.
	TargetRef LocalRef `json:"targetRef"`
	// Total is for all clients together, Identity for each client on its own.
	Total    *RateLimit `json:"total,omitempty"`
	Identity *RateLimit `json:"identity,omitempty"`
	// Overrides take the place of Identity for the clients that they name.
	Overrides []RateLimitOverride `json:"overrides,omitempty"`
}

// RateLimit is a bound.
type RateLimit struct {
	// RequestsPerSecond may be a fraction: 0.5 is one request in two seconds. Linkerd has whole numbers alone.
	RequestsPerSecond float64 `json:"requestsPerSecond"`
}

// RateLimitOverride is the bound for each of some clients, which are ServiceAccounts.
type RateLimitOverride struct {
	RequestsPerSecond float64     `json:"requestsPerSecond"`
	ClientRefs        []ObjectRef `json:"clientRefs"`
}

// HTTPLocalRateLimitPolicyStatus repeats the target beside the conditions, as Linkerd does.
type HTTPLocalRateLimitPolicyStatus struct {
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	TargetRef  LocalRef           `json:"targetRef"`
}

// HTTPLocalRateLimitPolicyList is what the API server answers to a list.
//
// +kubebuilder:object:root=true
type HTTPLocalRateLimitPolicyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []HTTPLocalRateLimitPolicy `json:"items"`
}
