// Package ca holds the rules by which Tulle issues certificates.
//
// It owns what an issuer must be, what a request may ask for, and what a leaf certificate contains. It imports only
// mesh and the standard library; it does no I/O and never reads the clock. The one idea comes from public CAs: Prepare
// decides everything and returns a Token whose facts can be audited. Only then Issue signs it, once.
package ca
