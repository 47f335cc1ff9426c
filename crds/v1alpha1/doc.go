// Package v1alpha1 owns the Go shape of the kinds that the mesh adds to Kubernetes: linkerd.io ServiceProfile, and of
// policy.linkerd.io Server, ServerAuthorization, AuthorizationPolicy, MeshTLSAuthentication, NetworkAuthentication,
// HTTPLocalRateLimitPolicy and HTTPRoute. It holds data alone: it must not import client-go, nor any other package of
// the mesh.
//
// One idea: a kind has one shape. Its versions differ in what they lack, never in what a field means, so the newest
// reads them all, and the package's name is the oldest of them. The comments that begin with +kubebuilder are the rules
// of admission; `go generate ./crds` writes the CustomResourceDefinitions from them.
//
// +kubebuilder:object:generate=true
// +groupName=policy.linkerd.io
package v1alpha1
