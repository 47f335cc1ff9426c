package v1alpha1

import (
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ServiceProfile says what the requests of one Service are and how they are tried. Its name is the Service's full name, as in
// web.shop.svc.cluster.local. In the Service's namespace it holds for every client, elsewhere for the clients of its own namespace,
// for whom it comes first.
//
// +kubebuilder:object:root=true
type ServiceProfile struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              ServiceProfileSpec `json:"spec,omitempty"`
	Status            Status             `json:"status,omitempty"`
}

// ServiceProfileSpec is what a ServiceProfile says.
type ServiceProfileSpec struct {
	// Routes are tried in order; the first whose condition holds is taken.
	Routes      []RouteSpec  `json:"routes,omitempty"`
	RetryBudget *RetryBudget `json:"retryBudget,omitempty"`
	// DstOverrides share out what is sent to the Service.
	DstOverrides []WeightedDst `json:"dstOverrides,omitempty"`
	// OpaquePorts are ports, and ranges of them, whose bytes are not looked at.
	OpaquePorts []string `json:"opaquePorts,omitempty"`
}

// RouteSpec is one kind of request.
type RouteSpec struct {
	// Name is the label by which metrics tell the route.
	Name      string        `json:"name"`
	Condition *RequestMatch `json:"condition"`
	// ResponseClasses are tried in order; a response that none of them holds for is a failure from 500 on.
	ResponseClasses []ResponseClass `json:"responseClasses,omitempty"`
	IsRetryable     bool            `json:"isRetryable,omitempty"`
	// Timeout bounds the request with its retries; a Go duration.
	Timeout string `json:"timeout,omitempty"`
	// RetryBudget takes the place of the profile's for this route. Linkerd has it on the profile alone.
	RetryBudget *RetryBudget `json:"retryBudget,omitempty"`
}

// RequestMatch holds for a request if all of its parts do.
type RequestMatch struct {
	// PathRegex has to match the whole path.
	PathRegex string          `json:"pathRegex,omitempty"`
	Method    string          `json:"method,omitempty"`
	All       []*RequestMatch `json:"all,omitempty"`
	Any       []*RequestMatch `json:"any,omitempty"`
	Not       *RequestMatch   `json:"not,omitempty"`
}

// ResponseClass says whether the responses of a condition are failures.
type ResponseClass struct {
	Condition *ResponseMatch `json:"condition"`
	IsFailure bool           `json:"isFailure,omitempty"`
}

// ResponseMatch holds for a response if all of its parts do.
type ResponseMatch struct {
	Status *Range           `json:"status,omitempty"`
	All    []*ResponseMatch `json:"all,omitempty"`
	Any    []*ResponseMatch `json:"any,omitempty"`
	Not    *ResponseMatch   `json:"not,omitempty"`
}

// Range is a range of status codes with both ends. An end that is 0 is the other end.
type Range struct {
	Min uint32 `json:"min,omitempty"`
	Max uint32 `json:"max,omitempty"`
}

// RetryBudget bounds retries: to RetryRatio of the requests of the last TTL, and MinRetriesPerSecond on top.
type RetryBudget struct {
	RetryRatio          float32 `json:"retryRatio"`
	MinRetriesPerSecond uint32  `json:"minRetriesPerSecond"`
	// TTL is a Go duration.
	TTL string `json:"ttl"`
}

// WeightedDst is a destination, given as host:port, and its share.
type WeightedDst struct {
	Authority string            `json:"authority"`
	Weight    resource.Quantity `json:"weight"`
}

// ServiceProfileList is what the API server answers to a list.
//
// +kubebuilder:object:root=true
type ServiceProfileList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ServiceProfile `json:"items"`
}
