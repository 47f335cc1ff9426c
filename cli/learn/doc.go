// Package learn makes policies from traffic, and evaluates changes of policy by it.
//
// It owns which metrics tell who called whom (Queries, Read), the policies that allow exactly that (Learn), and whom a
// change of policy would cut off or let in (WhatIf). It reaches no cluster: it works on the cluster's objects and on
// answers of a metrics.Source. The one idea: it decides nothing itself. It asks controller/model what a pod's proxy
// receives and proxy/authz what that proxy does, so an answer is what the mesh would do.
package learn
