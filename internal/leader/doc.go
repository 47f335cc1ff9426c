// Package leader elects one replica of a component to write.
//
// It owns the times of the election and the order of its end: the leader stops writing, and only then is the Lease
// released. It must not know what is written. The one idea: leadership is a context. Work that respects the context
// cannot write after its end.
package leader
