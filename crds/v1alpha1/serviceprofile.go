package v1alpha1

import (
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ServiceProfile describes the requests of one Service and their retries. Its name is the Service's full name, such as
// web.shop.svc.cluster.local. In the Service's namespace it applies to all clients. In another namespace it applies to
// the clients there, and takes precedence.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=sp
// +kubebuilder:printcolumn:name=Accepted,type=string,JSONPath=`.status.conditions[?(@.type=="Accepted")].status`
// +kubebuilder:printcolumn:name=Age,type=date,JSONPath=`.metadata.creationTimestamp`
type ServiceProfile struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              ServiceProfileSpec `json:"spec,omitempty"`
	Status            Status             `json:"status,omitempty"`
}

// ServiceProfileSpec is the spec of a ServiceProfile.
type ServiceProfileSpec struct {
	// Routes are matched in order. The first whose condition holds applies.
	//
	// +kubebuilder:validation:MaxItems=1000
	Routes      []RouteSpec  `json:"routes,omitempty"`
	RetryBudget *RetryBudget `json:"retryBudget,omitempty"`
	// DstOverrides split the requests to the Service.
	//
	// +kubebuilder:validation:MaxItems=64
	DstOverrides []WeightedDst `json:"dstOverrides,omitempty"`
	// OpaquePorts are ports and port ranges whose bytes the proxy does not read.
	//
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=11
	// +kubebuilder:validation:items:XValidation:rule="self.matches('^[0-9]{1,5}(-[0-9]{1,5})?$')",message="want a port such as '3306', or a range such as '4000-4010'"
	OpaquePorts []string `json:"opaquePorts,omitempty"`
}

// RouteSpec is one kind of request.
type RouteSpec struct {
	// Name is the label of the route in metrics.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Name string `json:"name"`
	// +kubebuilder:validation:XValidation:rule="has(self.method) || has(self.pathRegex) || has(self.all) || has(self.any) || has(self.not)",message="an empty condition holds for nothing: add method, pathRegex, all, any or not; pathRegex: '.*' holds for every request"
	Condition *RequestMatch `json:"condition"`
	// ResponseClasses are matched in order. A response that matches none of them is a failure from status 500 on.
	//
	// +kubebuilder:validation:MaxItems=32
	ResponseClasses []ResponseClass `json:"responseClasses,omitempty"`
	IsRetryable     bool            `json:"isRetryable,omitempty"`
	// Timeout bounds the request including its retries. It is a Go duration.
	//
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self == '' || self.matches('^([0-9]+([.][0-9]*)?(ns|us|µs|ms|s|m|h))+$')",message="want a duration with its unit, such as 300ms, 1.5s or 1m30s"
	Timeout string `json:"timeout,omitempty"`
	// RetryBudget replaces the profile's for this route. Linkerd has only the profile's.
	RetryBudget *RetryBudget `json:"retryBudget,omitempty"`
}

// RequestMatch matches a request if all its parts do. A schema cannot nest in itself, so `go generate` writes a few
// levels.
type RequestMatch struct {
	// PathRegex must match the whole path.
	//
	// +kubebuilder:validation:MaxLength=4096
	// +kubebuilder:validation:XValidation:rule="'/'.matches(self) in [true, false]",message="want a regular expression of the RE2 syntax, such as /users/[^/]*"
	PathRegex string `json:"pathRegex,omitempty"`
	// +kubebuilder:validation:MaxLength=32
	Method string `json:"method,omitempty"`
	// +kubebuilder:validation:Schemaless
	All []*RequestMatch `json:"all,omitempty"`
	// +kubebuilder:validation:Schemaless
	Any []*RequestMatch `json:"any,omitempty"`
	// +kubebuilder:validation:Schemaless
	Not *RequestMatch `json:"not,omitempty"`
}

// ResponseClass defines whether the responses of a condition are failures.
type ResponseClass struct {
	// +kubebuilder:validation:XValidation:rule="has(self.status) || has(self.all) || has(self.any) || has(self.not)",message="an empty condition holds for nothing: add status, all, any or not; status: {min: 500, max: 599} holds for every server error"
	Condition *ResponseMatch `json:"condition"`
	IsFailure bool           `json:"isFailure,omitempty"`
}

// ResponseMatch matches a response if all its parts do.
type ResponseMatch struct {
	Status *Range `json:"status,omitempty"`
	// +kubebuilder:validation:Schemaless
	All []*ResponseMatch `json:"all,omitempty"`
	// +kubebuilder:validation:Schemaless
	Any []*ResponseMatch `json:"any,omitempty"`
	// +kubebuilder:validation:Schemaless
	Not *ResponseMatch `json:"not,omitempty"`
}

// Range is an inclusive range of status codes. An end that is 0 equals the other end.
//
// +kubebuilder:validation:XValidation:rule="!has(self.min) || !has(self.max) || self.min <= self.max",message="min is above max; exchange them"
type Range struct {
	// +kubebuilder:validation:Minimum=100
	// +kubebuilder:validation:Maximum=599
	Min uint32 `json:"min,omitempty"`
	// +kubebuilder:validation:Minimum=100
	// +kubebuilder:validation:Maximum=599
	Max uint32 `json:"max,omitempty"`
}

// RetryBudget bounds retries to RetryRatio of the requests of the last TTL, plus MinRetriesPerSecond.
type RetryBudget struct {
	// +kubebuilder:validation:Minimum=0
	RetryRatio float32 `json:"retryRatio"`
	// +kubebuilder:validation:Minimum=0
	MinRetriesPerSecond uint32 `json:"minRetriesPerSecond"`
	// TTL is a Go duration.
	//
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]*)?(ns|us|µs|ms|s|m|h))+$')",message="want a duration with its unit, such as 10s"
	TTL string `json:"ttl"`
}

// WeightedDst is a destination, given as host:port, with its weight.
type WeightedDst struct {
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Authority string `json:"authority"`
	// Weight is at least 0.
	Weight resource.Quantity `json:"weight"`
}

// ServiceProfileList is the API server's response to a list request.
//
// +kubebuilder:object:root=true
type ServiceProfileList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ServiceProfile `json:"items"`
}
