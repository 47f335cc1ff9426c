// Package inject turns a pod into a meshed pod: it decides whether a pod gets a proxy, reads the annotations that
// configure it, and adds the containers, volumes, labels and annotations to a copy.
//
// It owns the table of every config.linkerd.io annotation and the shape of an injected pod. It must not import
// client-go, do I/O or read the clock: the webhook and `tulle inject` are two callers of the same pure functions. The
// one idea: a user's mistake is a value — a bad annotation is an error that names it and what is accepted, an unknown
// one a warning with the nearest match — and never a silent default.
package inject
