// Package controller is the destination controller's loop: the single writer between Kubernetes' events and the
// proxies' streams.
//
// It owns the store, the watched targets and their values; nobody else touches them. It must not import client-go:
// events come in on a channel. The one idea: an event, a new watch and the end of one are all work of the same
// goroutine, done in batches that are as large as the loop is busy, so a storm of a thousand subscriptions is a
// thousand cheap lookups in a row and never a fight for a lock.
package controller
