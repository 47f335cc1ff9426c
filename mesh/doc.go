// Package mesh holds the nouns that both planes of Tulle share: identities, addresses, services, endpoints, policies,
// and the names of labels, annotations and ports.
//
// It imports nothing but the standard library, and every other package may import it. The one idea: on the way to a
// proxy, Kubernetes types go no further than controller/model, wire types stop at api, and everything between them
// speaks these values. A value of this package is immutable by convention once it has been handed to another goroutine:
// build a new one instead of changing it.
package mesh
