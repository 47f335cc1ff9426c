// Package identity is the identity controller: it answers Certify, keeps the installation's issuer and trust anchors,
// and hands the anchors out to every namespace.
//
// It must not import the other controllers or anything of the proxy. The one idea: what certificates are issued with,
// an Authority, is one immutable value that is replaced only by one that was checked as a whole; every replica follows
// the cluster's objects to build it, and only the leader writes them. What certificates say is decided in identity/ca.
package identity
