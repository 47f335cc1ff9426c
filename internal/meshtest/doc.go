// Package meshtest is for tests only: it replaces the mesh around the code under test.
//
// It owns a certificate authority and a destination controller that end with their test. The one idea: they use real
// TLS and real gRPC.
package meshtest
