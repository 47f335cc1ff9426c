// Package identity is the identity controller: it issues certificates to workloads.
//
// It owns the response to Certify, the installation's issuer and trust anchors, and a copy of the anchors in every
// namespace. It must not import the other controllers or any package of the proxy. The one idea: the Authority, which
// issues certificates, is one immutable value that is checked as a whole before it replaces the last one. Every replica
// builds it from the cluster's objects, and only the leader writes these objects. identity/ca decides what a
// certificate contains.
package identity
