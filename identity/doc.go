// Package identity is the identity controller: it answers Certify, maintains the installation's issuer and trust
// anchors, and copies the anchors into every namespace.
//
// It must not import the other controllers or anything of the proxy. The one idea: the Authority, with which
// certificates are issued, is one immutable value that is checked as a whole before it replaces the last. Every replica
// builds it from the cluster's objects, and only the leader writes them. The contents of certificates are decided in
// identity/ca.
package identity
