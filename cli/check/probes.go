package check

import (
	"context"
	"errors"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/tulle-mesh/tulle/cli/analyze"
	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/cli/explain"
	"github.com/tulle-mesh/tulle/internal/kubelet"
	"github.com/tulle-mesh/tulle/internal/sidecar"
	"github.com/tulle-mesh/tulle/mesh"
)

// refusedProbes returns what keeps the kubelet out of pods in scope, as analyze finds it. Policies are read only where
// a pod is probed over HTTPS.
func refusedProbes(ctx context.Context, cl *cluster.Client, f *facts) ([]analyze.Finding, error) {
	probed := false
	f.eachPod(func(pod *corev1.Pod) {
		probed = probed || sidecar.Of(pod) != nil &&
			slices.ContainsFunc(kubelet.Requests(&pod.Spec, mesh.ProxyContainer), func(r kubelet.Request) bool { return r.TLS })
	})
	if !probed {
		return nil, nil
	}
	trees, err := explain.Objects(ctx, cl)
	if err != nil {
		return nil, err
	}
	world := analyze.NewWorld(trees, "")
	world.Now = f.now
	return slices.DeleteFunc(world.Probes(), func(found analyze.Finding) bool {
		return found.Code != analyze.ProbeRefused || !f.inScope(found.Namespace)
	}), nil
}

// askProbes names pods whose kubelet is kept out, which are restarted for ever or never are ready.
func askProbes(f *facts) error {
	if err := errors.Join(f.pods.err, f.probes.err); err != nil {
		return err
	}
	var wrong []string
	for _, found := range f.probes.value {
		wrong = append(wrong, found.Namespace+" "+found.Object+": "+found.Message)
	}
	if wrong == nil {
		return nil
	}
	return errors.New(strings.Join(wrong, "\n"))
}
