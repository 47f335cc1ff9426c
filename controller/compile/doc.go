// Package compile turns one Kubernetes object into what the mesh makes of it, and into findings: what its author should
// know.
//
// Each Parse function looks at one object, and at what the same object said before where an earlier value stays active.
// It knows no other object and keeps nothing: whether a Service exists, or which of two routes wins, is for package
// model. It must not import client-go. The one idea: a mistake is data. Parsing never fails; it returns the part that
// works, and a Finding for the rest.
package compile
