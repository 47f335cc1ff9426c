package upgrade

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/version"

	"github.com/tulle-mesh/tulle/mesh"
)

// widestStep is over how many minor versions an upgrade may go, and how many a proxy may be older than its control
// plane.
const widestStep = 2

// checkSteps refuses an upgrade with an older CLI than that of the installation, and steps that are too wide: from the
// control plane, and from the proxies that will talk to it. A version that is not a release cannot be compared, and
// passes.
func checkSteps(from, to string, proxies []corev1.Pod) error {
	next, err := version.ParseSemantic(to)
	if err != nil {
		return nil
	}
	if have, err := version.ParseSemantic(from); err == nil {
		switch {
		case next.LessThan(have):
			return fmt.Errorf("the installation has version %s, and this CLI is %s, which is older: upgrade with the CLI of %s "+
				"or a newer one", from, to, from)
		case tooWide(have, next):
			return fmt.Errorf("from %s to %s is more than %d minor versions: %s", from, to, widestStep, stepBefore(have, next))
		}
	}
	for i := range proxies {
		pod := &proxies[i]
		v := pod.Annotations[mesh.ProxyVersionAnnotation]
		if have, err := version.ParseSemantic(v); err == nil && tooWide(have, next) {
			return fmt.Errorf("pod %s/%s has a proxy of version %s, more than %d minor versions older than %s: restart old "+
				"proxies' workloads first", pod.Namespace, pod.Name, v, widestStep, to)
		}
	}
	return nil
}

func tooWide(from, to *version.Version) bool {
	return from.LessThan(to) && (from.Major() != to.Major() || to.Minor()-from.Minor() > widestStep)
}

// stepBefore names the versions on the way.
func stepBefore(from, to *version.Version) string {
	if from.Major() != to.Major() {
		return fmt.Sprintf("upgrade to the last release of v%d first", from.Major())
	}
	return fmt.Sprintf("upgrade to a release of v%d.%d first, and restart the workloads with proxies",
		from.Major(), from.Minor()+widestStep)
}
