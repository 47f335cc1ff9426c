package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// withoutPods returns the cluster's objects but the pods of namespace shop.
func withoutPods(f *fakeCluster) *fakeCluster {
	f.objects = slices.DeleteFunc(f.objects, func(o runtime.Object) bool {
		pod, ok := o.(*corev1.Pod)
		return ok && pod.Namespace == "shop"
	})
	return f
}

func TestUninstallGolden(t *testing.T) {
	r := runCLI(t, withoutPods(healthyCluster(t)).connect, "", "uninstall")
	if r.code != 0 {
		t.Fatalf("exit code %d: %s", r.code, r.err)
	}
	golden(t, "uninstall.txt", r)
}

func TestUninstallRefusesWhilePodsHaveProxies(t *testing.T) {
	f := healthyCluster(t)
	r := runCLI(t, f.connect, "", "uninstall")
	if r.code != 1 || r.out != "" || !strings.Contains(r.err, "2 pods still have a proxy: shop/web-1, shop/web-2") {
		t.Errorf("exit code %d, stdout %q, stderr %q; want a refusal that names both pods", r.code, r.out, r.err)
	}
	if r := runCLI(t, f.connect, "", "uninstall", "--force"); r.code != 0 || !strings.Contains(r.out, "kind: Namespace") ||
		!strings.Contains(r.err, "shop/web-1") {
		t.Errorf("--force: exit code %d, stdout %q, stderr %q; want everything and a warning", r.code, r.out, r.err)
	}
}

func TestUninstallKeepsDefinitionsThatAreUsed(t *testing.T) {
	f := withoutPods(healthyCluster(t))
	f.resources = []*metav1.PartialObjectMetadata{{
		TypeMeta:   metav1.TypeMeta{APIVersion: "linkerd.io/v1alpha2", Kind: "ServiceProfile"},
		ObjectMeta: metav1.ObjectMeta{Name: "web.shop.svc.cluster.local", Namespace: "shop"},
	}}
	const name = "name: serviceprofiles.linkerd.io"
	r := runCLI(t, f.connect, "", "uninstall")
	if r.code != 0 || strings.Contains(r.out, name) || !strings.Contains(r.out, "name: servers.policy.linkerd.io") ||
		!strings.Contains(r.err, "note: serviceprofiles.linkerd.io stays: deleting it would delete 1 resources, such as "+
			"shop/web.shop.svc.cluster.local") {
		t.Errorf("exit code %d, stderr %q; want the other definitions, and a word about this one", r.code, r.err)
	}
	if r := runCLI(t, f.connect, "", "uninstall", "--with-resources"); r.code != 0 || !strings.Contains(r.out, name) ||
		r.err != "" {
		t.Errorf("--with-resources: exit code %d, stderr %q; want every definition", r.code, r.err)
	}
}

func TestUninstallLeavesDefinitionsOfOthers(t *testing.T) {
	f := withoutPods(healthyCluster(t))
	for i := range f.definitions {
		d := &f.definitions[i]
		d.Manifest = bytes.Replace(d.Manifest, []byte("control-plane-ns: tulle"), []byte("control-plane-ns: linkerd"), 1)
	}
	if r := runCLI(t, f.connect, "", "uninstall"); r.code != 0 || strings.Contains(r.out, "CustomResourceDefinition") {
		t.Errorf("exit code %d, stderr %q; want no definition of another control plane", r.code, r.err)
	}
}

func TestUninstallFindsNothing(t *testing.T) {
	if r := runCLI(t, emptyCluster().connect, "", "uninstall"); r.code != 1 ||
		!strings.Contains(r.err, "nothing of Tulle found") {
		t.Errorf("exit code %d, stderr %q", r.code, r.err)
	}
}

func TestVersion(t *testing.T) {
	f := healthyCluster(t)
	find[*corev1.Pod](t, f, "web-2").Annotations["linkerd.io/proxy-version"] = "v0.1"
	for name, test := range map[string]struct {
		connect connector
		args    []string
		want    string
		code    int
	}{
		"client":     {noCluster, []string{"--client"}, "Client version: dev\n", 0},
		"short":      {noCluster, []string{"--client", "--short"}, "dev\n", 0},
		"no cluster": {noCluster, nil, "Client version: dev\nServer version: unavailable\n", 0},
		"server":     {f.connect, nil, "Client version: dev\nServer version: dev\n", 0},
		"proxies": {f.connect, []string{"--proxy"},
			"Client version: dev\nServer version: dev\nProxy versions:\n\tdev (1 pods)\n\tv0.1 (1 pods)\n", 0},
		"no proxies": {f.connect, []string{"--proxy", "-n", "default"}, "Client version: dev\nServer version: dev\n", 1},
	} {
		t.Run(name, func(t *testing.T) {
			r := runCLI(t, test.connect, "", append([]string{"version"}, test.args...)...)
			if r.out != test.want || r.code != test.code {
				t.Errorf("got %q and exit code %d, want %q and %d", r.out, r.code, test.want, test.code)
			}
			const reason = "note: the control plane's version is not known: no kubeconfig\n"
			if asked := name == "no cluster"; asked != (r.err == reason) {
				t.Errorf("stderr %q, want the reason: %t", r.err, asked)
			}
		})
	}
}
