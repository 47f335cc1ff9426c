// Package status says in the status of Kubernetes objects what became of them.
//
// It turns a model.Outcome into conditions, merges these with what other controllers wrote, and writes the result. It
// decides nothing: why a route is not accepted comes from package model. The one idea: level, not edge. For each object
// the writer keeps the latest outcome and compares it with what the API server shows, so a long outage loses nothing
// and queues nothing.
package status
