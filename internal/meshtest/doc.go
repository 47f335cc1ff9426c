// Package meshtest is for tests only: the doubles that stand in for a mesh around the thing that is tested. They speak
// real TLS and real gRPC.
package meshtest
