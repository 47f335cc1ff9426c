// Package model derives what proxies are told from what Kubernetes says.
//
// It owns the record of every object that matters (Store), what is derived from all of them together (Build), and the answer to one
// question of one proxy (Resolve). It is pure: Kubernetes types come in through Apply and stop here, mesh values come out, and it
// never reads a clock, logs, or talks to anybody; it must not import client-go. The one idea: two lanes. What changes rarely and
// touches everything (namespaces, nodes) is built again whole, into an immutable Snapshot; what changes all the time (Services,
// EndpointSlices, pods) only names the addresses it touches, so its cost does not depend on the rest of the cluster.
//
// A Store belongs to one goroutine.
package model
