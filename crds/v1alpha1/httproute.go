package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// HTTPRoute is the HTTPRoute of policy.linkerd.io. It is the Gateway API's kind under another group, from a time when
// many clusters lacked the Gateway API. Its schema accepts what Linkerd's versions of the kind accept, and what the
// Gateway API has added since. A parent without group is in policy.linkerd.io, and one without kind is a Server.
//
// +kubebuilder:object:root=true
type HTTPRoute struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              gatewayv1.HTTPRouteSpec   `json:"spec"`
	Status            gatewayv1.HTTPRouteStatus `json:"status,omitempty"`
}

// HTTPRouteList is the API server's response to a list request.
//
// +kubebuilder:object:root=true
type HTTPRouteList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []HTTPRoute `json:"items"`
}
