// Package leader elects one replica of a component to write.
//
// It owns the times of the election and the order of its end: who led stops writing, and only then is the lease given
// back. It must not know what is written. The one idea: leadership is a context; work that honours it cannot write
// after it has ended.
package leader
