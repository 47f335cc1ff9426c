// Package injector is the admission webhook: it answers the API server's reviews of new pods and Services, keeps its
// own certificate, and announces itself in its webhook configuration.
//
// What an injected pod looks like is decided by injector/inject; this package knows namespaces, owners, TLS and HTTP.
// It must not import controller or identity. The one idea: a review is answered from memory and writes nothing, so that
// dry runs are free and a slow API server never waits for itself; everything that writes is a loop beside it.
package injector
