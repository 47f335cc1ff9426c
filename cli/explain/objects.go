package explain

import (
	"context"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/controller/kinds"
)

// Kinds returns the kinds whose objects analyze reads from a cluster. ReplicaSets and ReplicationControllers are not
// among them: what made them says the same.
func Kinds() []kinds.Kind {
	workloads := slices.DeleteFunc(kinds.Workloads(), func(k kinds.Kind) bool {
		return k.Name == "ReplicaSet" || k.Name == "ReplicationController"
	})
	list := slices.Concat(kinds.Core(), kinds.Configuration(), workloads)
	slices.SortFunc(list, func(a, b kinds.Kind) int { return strings.Compare(a.Definition(), b.Definition()) })
	return list
}

// Objects reads everything that the checks of cli/analyze look at. A kind that the cluster does not know has no
// objects. It may know older versions only: those of an older Gateway API, or of an older Linkerd.
func Objects(ctx context.Context, cl *cluster.Client) ([]map[string]any, error) {
	var trees []map[string]any
	for _, k := range Kinds() {
		for _, version := range k.Versions {
			more, err := listAll(ctx, cl, k, version)
			if apierrors.IsNotFound(err) {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("list %s: %w", k.Plural, err)
			}
			trees = append(trees, more...)
			break
		}
	}
	return trees, nil
}

// listAll reads every object of a kind. Its errors are the API server's.
func listAll(ctx context.Context, cl *cluster.Client, k kinds.Kind, version string) ([]map[string]any, error) {
	resource := k.Resource(version)
	var trees []map[string]any
	for next := ""; ; {
		list, err := cl.Dynamic.Resource(resource).List(ctx, metav1.ListOptions{Limit: 500, Continue: next})
		if err != nil {
			return nil, err
		}
		for i := range list.Items {
			list.Items[i].SetGroupVersionKind(resource.GroupVersion().WithKind(k.Name))
			trees = append(trees, list.Items[i].Object)
		}
		if next = list.GetContinue(); next == "" {
			return trees, nil
		}
	}
}
