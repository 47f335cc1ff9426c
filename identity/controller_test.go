package identity

import (
	"testing"
)

func TestBareClusterGetsAnAuthorityAndWorkloadsTheirCertificates(t *testing.T) {
	c := newCluster(t)
	controller := c.start(nil)
	awaitClosed(t, controller.Ready(), "readiness")
	source := c.awaitRoots(testNamespace, count(1))
	for _, namespace := range []string{"default", "shop"} {
		if got := c.awaitRoots(namespace, count(1)); string(got) != string(source) {
			t.Errorf("namespace %s has other trust anchors than %s", namespace, testNamespace)
		}
	}
	w := startWorkload(t, controller, web, source)
	awaitClosed(t, w.Ready(), "first certificate")
	if err := w.Err(); err != nil {
		t.Error(err)
	}
}
