package discovery

import (
	"context"
	"errors"

	"github.com/tulle-mesh/tulle/internal/latest"
	"github.com/tulle-mesh/tulle/mesh"
)

// ErrUnknownPod is wrapped by Identify's error for a pod that nobody has heard of, yet.
var ErrUnknownPod = errors.New("unknown pod")

// Source knows the values. Its methods are called by many goroutines.
type Source interface {
	// Identify returns the node and the ServiceAccount of a pod. The error wraps ErrUnknownPod, or is that of ctx.
	Identify(ctx context.Context, namespace, pod string) (node, serviceAccount string, err error)
	// Watch returns a cell that holds the value of the target for the client, as soon as it is known and whenever it
	// changes, until stop is called, which may be done once. The error is that of ctx, or of a source that has ended.
	Watch(ctx context.Context, client mesh.Client, t mesh.Target) (cell *latest.Cell[*Value], stop func(), err error)
}
