// Package injector is the admission webhook: it answers the API server's reviews of new pods and Services, keeps its
// own certificate, and announces itself in its webhook configuration. Package injector/inject decides what an injected
// pod looks like; this package knows namespaces, owners, TLS and HTTP. It must not import controller or identity. The
// one idea: a review is answered from memory and writes nothing, so dry runs have no effect and a slow API server never
// waits for itself. Loops beside the reviews do all writing.
package injector
