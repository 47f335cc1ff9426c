// Package v1alpha1 holds the Go types of the kinds that the mesh adds to Kubernetes.
//
// It owns linkerd.io ServiceProfile, and of policy.linkerd.io Server, ServerAuthorization, AuthorizationPolicy,
// MeshTLSAuthentication, NetworkAuthentication, HTTPLocalRateLimitPolicy and HTTPRoute. It has only data: it must not
// import client-go, nor any other package of the mesh.
//
// The one idea: a kind has one Go type. Its versions differ in the fields that they have, never in the meaning of a
// field. So the newest version reads them all, and the package has the name of the oldest. The comments that begin with
// +kubebuilder are the rules of admission; `go generate ./crds` writes the CustomResourceDefinitions from them.
//
// +kubebuilder:object:generate=true
// +groupName=policy.linkerd.io
package v1alpha1
