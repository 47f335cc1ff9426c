package tapclient

import (
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/viz/tap"
)

// AdminRole is the ClusterRole of the viz extension whose users may watch everything. The name is Linkerd's.
const AdminRole = "linkerd-linkerd-viz-tap-admin"

// explainRefusal returns the error of a request that the API refused, with what the user can do about it.
func explainRefusal(t Target, err error) error {
	switch {
	case apierrors.IsNotFound(err) && apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse):
		return fmt.Errorf("watch %s: the cluster has no tap server: run `tulle viz install | kubectl apply -f -`", t)
	case apierrors.IsServiceUnavailable(err):
		return fmt.Errorf("watch %s: the tap server does not answer; `tulle viz check` says why: %w", t, err)
	case apierrors.IsForbidden(err):
		plural, name := t.reviewedResource()
		return fmt.Errorf("watch %s: you need the verb watch on %s/tap of the API group %s, for %q; "+
			"`kubectl create rolebinding tap -n %s --clusterrole %s --user NAME` gives it: %w", t, plural, tap.Group, name,
			t.InNamespace(), AdminRole, err)
	}
	return fmt.Errorf("watch %s: %w", t, err)
}
