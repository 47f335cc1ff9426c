// Package learn makes policies from traffic, and evaluates changes of policy by it.
//
// It owns which metrics show who called whom (Queries, Read), the policies that allow exactly that (Learn), and which
// callers a change of policy would deny or allow (WhatIf). It reaches no cluster: it works on the cluster's objects and
// on the answers of a metrics.Source. The one idea: it decides nothing itself. controller/model says what a pod's proxy
// receives, and proxy/authz what that proxy decides, so the result is what the mesh would do.
package learn
