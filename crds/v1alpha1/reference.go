package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// LocalRef names an object in the namespace of the object with the LocalRef.
type LocalRef struct {
	// Group is "" for the core group, which may also be spelled "core".
	//
	// +kubebuilder:validation:MaxLength=253
	Group string `json:"group,omitempty"`
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Kind string `json:"kind"`
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}

// ObjectRef names an object. Namespace "" is that of the object with the ObjectRef.
type ObjectRef struct {
	// Group is "" for the core group, which may also be spelled "core".
	//
	// +kubebuilder:validation:MaxLength=253
	Group string `json:"group,omitempty"`
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Kind string `json:"kind"`
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace,omitempty"`
}

// Network is a network or a single address, without the parts in Except.
//
// +kubebuilder:validation:XValidation:rule="!isCIDR(self.cidr) || !has(self.except) || self.except.all(e, isCIDR(e) ? cidr(self.cidr).containsCIDR(e) : !isIP(e) || cidr(self.cidr).containsIP(e))",fieldPath=".except",message="each exception has to lie within cidr, for it takes a part of it away"
// +kubebuilder:validation:XValidation:rule="!isCIDR(self.cidr) || !has(self.except) || !self.except.exists(e, isCIDR(e) && cidr(e).containsCIDR(self.cidr))",fieldPath=".except",message="an exception covers the whole of cidr, so that nothing is left; remove the network instead"
// +kubebuilder:validation:XValidation:rule="isCIDR(self.cidr) || !has(self.except) || size(self.except) == 0",fieldPath=".except",message="a single address has no parts to except; give cidr as a network, such as 10.0.0.0/8"
type Network struct {
	// +kubebuilder:validation:MaxLength=43
	// +kubebuilder:validation:XValidation:rule="isCIDR(self) || isIP(self)",message="want a network such as 10.0.0.0/8 or fd00::/8, or an address such as 10.1.2.3"
	CIDR string `json:"cidr"`
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=43
	// +kubebuilder:validation:items:XValidation:rule="isCIDR(self) || isIP(self)",message="want a network such as 10.1.0.0/16, or an address such as 10.1.2.3"
	Except []string `json:"except,omitempty"`
}

// Status is the status of all kinds except routes, which have one for each parent.
type Status struct {
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}
