// Package ca holds the rules by which Tulle issues certificates: what an issuer must be, what a request may say, what a
// leaf contains.
//
// It imports nothing of Tulle but mesh, and nothing else but the standard library; it does no I/O and never asks the
// clock. The one idea is taken from how public CAs are built: Prepare decides everything and yields a Token whose facts
// can be audited, and only then Issue signs it, once.
package ca
