package main

import (
	"os"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/tulle-mesh/tulle/cli/installation"
	"github.com/tulle-mesh/tulle/mesh"
)

// setInstalled makes the cluster's installation one of the flags; the manifests are returned.
func setInstalled(t *testing.T, f *fakeCluster, flags ...string) string {
	t.Helper()
	r := runCLI(t, noCluster, "", append([]string{"install"}, flags...)...)
	if r.code != 0 {
		t.Fatal(r.err)
	}
	config := find[*corev1.ConfigMap](t, f, installation.ConfigMap)
	for _, tree := range trees(t, r.out) {
		if name, _ := tree["metadata"].(map[string]any)["name"].(string); tree["kind"] == "ConfigMap" &&
			name == installation.ConfigMap {
			config.Data["install"] = tree["data"].(map[string]any)["install"].(string)
		}
	}
	return r.out
}

func TestUpgradeKeepsTheStoredValues(t *testing.T) {
	f := healthyCluster(t)
	const stored = "proxy.defaultInboundPolicy=deny,controllerReplicas=3"
	first := setInstalled(t, f, "--set", stored)
	if r := runCLI(t, f.connect, "", "upgrade"); r.code != 0 || r.out != first || r.err != "" {
		t.Errorf("exit code %d, stderr %q; want the manifests of the installation", r.code, r.err)
	}
	changed := runCLI(t, noCluster, "", "install", "--set", stored+",proxy.logLevel=debug")
	if r := runCLI(t, f.connect, "", "upgrade", "--proxy-log-level=debug"); r.code != 0 || r.out != changed.out {
		t.Errorf("with a change: exit code %d, stderr %q; want the stored values with the change", r.code, r.err)
	}
}

func TestUpgradeRefusesWithoutAnInstallation(t *testing.T) {
	for _, args := range [][]string{{"upgrade"}, {"upgrade", "--dry-run"}, {"upgrade", "--force"}, {"prune"}} {
		r := runCLI(t, emptyCluster().connect, "", args...)
		if r.code != 1 || r.out != "" || !strings.Contains(r.err, "tulle install | kubectl apply -f -") {
			t.Errorf("%v: exit code %d, stderr %q; want what to do instead", args, r.code, r.err)
		}
	}
}

func TestUpgradeTakesValuesFromManifests(t *testing.T) {
	first := runCLI(t, noCluster, "", "install", "--set", "proxy.defaultInboundPolicy=deny")
	file := t.TempDir() + "/tulle.yaml"
	if err := os.WriteFile(file, []byte(first.out), 0o600); err != nil {
		t.Fatal(err)
	}
	f := healthyCluster(t)
	if r := runCLI(t, f.connect, "", "upgrade", "--from-manifests", file); r.code != 0 || r.out != first.out {
		t.Errorf("exit code %d, stderr %q; want the manifests of the file", r.code, r.err)
	}
	for want, args := range map[string][]string{
		"add -L tulle":              {"upgrade", "--from-manifests", file, "-L", "mesh"},
		"no ConfigMap tulle-config": {"upgrade", "--from-manifests", "-"},
	} {
		r := runCLI(t, f.connect, "kind: ConfigMap\napiVersion: v1\nmetadata: {name: other}\n", args...)
		if r.code != 1 || r.out != "" || !strings.Contains(r.err, want) {
			t.Errorf("%v: exit code %d, stderr %q; want %q", args, r.code, r.err, want)
		}
	}
}

// TestUpgradeKeepsTheIssuer has an installation with the user's own issuer: its key stays where it is.
func TestUpgradeKeepsTheIssuer(t *testing.T) {
	anchor, cert, key := credentials(t)
	read := func(file string) []byte {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	f := healthyCluster(t)
	own := []string{"--identity-trust-anchors-file", anchor, "--identity-issuer-certificate-file", cert,
		"--identity-issuer-key-file", key}
	first := setInstalled(t, f, own...)
	file := t.TempDir() + "/tulle.yaml"
	if err := os.WriteFile(file, []byte(first), 0o600); err != nil {
		t.Fatal(err)
	}
	secret := find[*corev1.Secret](t, f, mesh.IssuerSecret)
	secret.Data = map[string][]byte{corev1.TLSCertKey: read(cert), corev1.TLSPrivateKeyKey: read(key)}
	for _, o := range f.objects {
		if cm, ok := o.(*corev1.ConfigMap); ok && cm.Name == mesh.TrustRootsConfigMap {
			cm.Data[mesh.TrustRootsKey] = string(read(anchor))
		}
	}
	for _, args := range [][]string{{"upgrade"}, {"install", "--reuse-values"}} {
		r := runCLI(t, f.connect, "", args...)
		if r.code != 0 || strings.Contains(r.out, "kind: Secret") || !strings.Contains(r.out, "BEGIN CERTIFICATE") ||
			!strings.Contains(r.err, "the issuer stays as it is: Secret tulle/tulle-identity-issuer is not part of this") {
			t.Errorf("%v: exit code %d, stderr %q; want the anchors, no Secret, and a note", args, r.code, r.err)
		}
	}
	// Manifests that have the Secret keep it.
	if r := runCLI(t, f.connect, "", "upgrade", "--from-manifests", file); r.code != 0 || r.out != first {
		t.Errorf("--from-manifests: exit code %d, stderr %q; want the manifests with their Secret", r.code, r.err)
	}
	if r := runCLI(t, f.connect, "", "upgrade", "--dry-run"); r.code != 0 ||
		strings.Contains(r.out, "tulle-identity-issuer") {
		t.Errorf("--dry-run: exit code %d, stderr %q", r.code, r.err)
	}

	// Somebody else's issuer: no running proxy has its anchor.
	otherAnchor, otherCert, otherKey := credentials(t)
	other := []string{"upgrade", "--identity-trust-anchors-file", otherAnchor, "--identity-issuer-certificate-file",
		otherCert,
		"--identity-issuer-key-file", otherKey}
	r := runCLI(t, f.connect, "", other...)
	for _, want := range []string{"2 running proxies do not have the anchor of the new issuer", "namespaces shop",
		"the new trust anchors lack the anchor of the issuer in the cluster", "--force upgrades anyway"} {
		if r.code != 1 || r.out != "" || !strings.Contains(r.err, want) {
			t.Errorf("another issuer: exit code %d, stderr %q; want %q", r.code, r.err, want)
		}
	}
	if r := runCLI(t, f.connect, "", append(other, "--force")...); r.code != 0 ||
		!strings.Contains(r.out, "kind: Secret") || !strings.Contains(r.err, "warning: 2 running proxies") {
		t.Errorf("--force: exit code %d, stderr %q; want the new issuer and a warning", r.code, r.err)
	}
	r = runCLI(t, f.connect, "", append(other, "--force", "--dry-run")...)
	if r.code != 0 || !strings.Contains(r.out, "(not shown, ") || strings.Contains(r.out, "PRIVATE KEY") ||
		strings.Contains(r.out, "tls.key: LS0t") {
		t.Errorf("--dry-run of a new issuer: exit code %d, stdout %q; want that its key is not shown", r.code, r.out)
	}
	withoutPods(f)
	if r := runCLI(t, f.connect, "", other...); r.code != 0 {
		t.Errorf("another issuer without proxies: exit code %d, stderr %q", r.code, r.err)
	}
	secret.Data = nil
	if r := runCLI(t, f.connect, "", "upgrade"); r.code != 1 || !strings.Contains(r.err, "has no issuer to keep") {
		t.Errorf("an empty Secret: exit code %d, stderr %q; want that there is nothing to keep", r.code, r.err)
	}
}

func TestUpgradeRefusesStepsThatAreTooWide(t *testing.T) {
	was := version
	defer func() { version = was }()
	for _, test := range []struct{ from, to, proxy, want string }{
		{"v0.4.0", "v0.4.1", "v0.4.0", ""},
		{"v0.4.0", "v0.6.0", "v0.4.0", ""},
		{"v0.4.0", "v0.3.9", "v0.3.0", "this CLI is v0.3.9, which is older"},
		{"v0.4.0", "v0.7.0", "v0.4.0", "upgrade to a release of v0.6 first"},
		{"v0.4.0", "v1.0.0", "v0.4.0", "upgrade to the last release of v0 first"},
		{"v0.6.0", "v0.7.0", "v0.4.0", "pod shop/web-1 has a proxy of version v0.4.0"},
		{"0d1f2a3", "v0.7.0", "0d1f2a3", ""},
	} {
		version = was
		f := healthyCluster(t)
		find[*corev1.ConfigMap](t, f, installation.ConfigMap).Annotations[mesh.CreatedByAnnotation] = "tulle/cli " + test.from
		find[*corev1.Pod](t, f, "web-1").Annotations[mesh.ProxyVersionAnnotation] = test.proxy
		version = test.to
		r := runCLI(t, f.connect, "", "upgrade")
		if (r.code != 0) != (test.want != "") || !strings.Contains(r.err, test.want) {
			t.Errorf("%s to %s: exit code %d, stderr %q; want %q", test.from, test.to, r.code, r.err, test.want)
		}
		if r := runCLI(t, f.connect, "", "upgrade", "--force"); r.code != 0 || r.out == "" {
			t.Errorf("%s to %s with --force: exit code %d, stderr %q", test.from, test.to, r.code, r.err)
		}
	}
}

// leftovers are what an installation with other values has left in the cluster, and what only looks so.
func leftovers(f *fakeCluster) {
	labels := map[string]string{mesh.ControlPlaneNSLabel: "tulle"}
	of := func(name, namespace string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Name: name, Namespace: namespace, Labels: labels}
	}
	viz := of("metrics-api", "tulle")
	viz.Labels = map[string]string{mesh.ControlPlaneNSLabel: "tulle", mesh.ExtensionLabel: "viz"}
	f.objects = append(f.objects,
		&policyv1.PodDisruptionBudget{ObjectMeta: of("tulle-identity", "tulle")},
		&appsv1.Deployment{ObjectMeta: of("tulle-old", "tulle")},
		&rbacv1.ClusterRole{ObjectMeta: of("tulle-old", "")},
		&corev1.ConfigMap{ObjectMeta: of("made-by-a-controller", "tulle")},
		&corev1.Secret{ObjectMeta: of("tulle-keys", "tulle")},
		&corev1.Service{ObjectMeta: viz},
		&corev1.Service{ObjectMeta: of("shop", "shop")})
}

func TestPrune(t *testing.T) {
	f := healthyCluster(t)
	if r := runCLI(t, f.connect, "", "prune"); r.code != 0 || r.out != "" || !strings.Contains(r.err, "nothing to prune") {
		t.Errorf("exit code %d, stdout %q, stderr %q; want nothing", r.code, r.out, r.err)
	}
	leftovers(f)
	r := runCLI(t, f.connect, "", "prune")
	if r.code != 0 {
		t.Fatal(r.err)
	}
	var got []string
	for _, tree := range trees(t, r.out) {
		got = append(got, tree["kind"].(string)+"/"+tree["metadata"].(map[string]any)["name"].(string))
	}
	want := []string{"ClusterRole/tulle-old", "Deployment/tulle-old", "PodDisruptionBudget/tulle-identity"}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if r := runCLI(t, f.connect, "", "upgrade"); !strings.Contains(r.err,
		"does not use 3 objects of the installation: ClusterRole/tulle-old, Deployment/tulle-old") {
		t.Errorf("upgrade says %q; want the same objects", r.err)
	}
	find[*corev1.ConfigMap](t, f, installation.ConfigMap).Annotations[mesh.CreatedByAnnotation] = "tulle/cli v9"
	if r := runCLI(t, f.connect, "", "prune"); r.code != 1 || r.out != "" ||
		!strings.Contains(r.err, "use the CLI of v9") {
		t.Errorf("another version: exit code %d, stderr %q; want a refusal", r.code, r.err)
	}
}

func TestPruneKeepsDefinitionsWithResources(t *testing.T) {
	for name, test := range map[string]struct {
		resources []*metav1.PartialObjectMetadata
		code      string
	}{
		"unused": {nil, "name: routes.tulle.dev"},
		"used": {[]*metav1.PartialObjectMetadata{{
			TypeMeta:   metav1.TypeMeta{APIVersion: "tulle.dev/v1", Kind: "Route"},
			ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "shop"},
		}}, ""},
	} {
		f := healthyCluster(t)
		definition := f.definitions[0]
		definition.Manifest = []byte(`apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: routes.tulle.dev
  labels: {linkerd.io/control-plane-ns: tulle}
  annotations: {linkerd.io/created-by: tulle/cli v0.1.0}
spec: {group: tulle.dev, names: {plural: routes}, versions: [{name: v1, served: true}]}
`)
		f.definitions = append(f.definitions, definition)
		f.resources = test.resources
		f.addDefinitions(t)
		r := runCLI(t, f.connect, "", "prune")
		if r.code != 0 || !strings.Contains(r.out, test.code) || (r.out == "") != (test.code == "") ||
			strings.Contains(r.err, "routes.tulle.dev stays: this version does not use it, but deleting it would delete 1 "+
				"resources: shop/web") != (test.code == "") {
			t.Errorf("%s: exit code %d, stdout %q, stderr %q", name, r.code, r.out, r.err)
		}
	}
}

// addDefinitions makes the definitions readable whole.
func (f *fakeCluster) addDefinitions(t *testing.T) {
	t.Helper()
	for _, d := range f.definitions {
		tree := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(d.Manifest, &tree.Object); err != nil {
			t.Fatal(err)
		}
		f.untyped = append(f.untyped, tree)
	}
}

func TestUpgradeDryRun(t *testing.T) {
	f := healthyCluster(t)
	f.addDefinitions(t)
	leftovers(f)
	d := find[*appsv1.Deployment](t, f, "tulle-identity")
	d.Spec.Template.Spec.Containers[0].Image = "ghcr.io/tulle-mesh/controller:v0"
	d.Spec.Template.Spec.DNSPolicy = corev1.DNSClusterFirst // a default, which is not ours
	config := find[*corev1.ConfigMap](t, f, installation.ConfigMap)
	config.Annotations["\x1b[31m"] = "of somebody else"
	f.objects = slices.DeleteFunc(f.objects, func(o runtime.Object) bool {
		s, ok := o.(*corev1.Service)
		return ok && s.Name == "tulle-identity"
	})
	r := runCLI(t, f.connect, "", "upgrade", "--dry-run", "--controller-log-level=debug")
	if r.code != 0 {
		t.Fatal(r.err)
	}
	for _, want := range []string{
		"new       Service/tulle-identity in namespace tulle\n",
		"changed   ConfigMap/tulle-config in namespace tulle\n--- in the cluster\n+++ after the upgrade\n",
		"-    controllerLogLevel: info\n+    controllerLogLevel: debug\n",
		"-        image: ghcr.io/tulle-mesh/controller:v0\n+        image: ghcr.io/tulle-mesh/controller:dev\n",
		"unchanged Namespace/tulle\n", "unchanged CustomResourceDefinition/servers.policy.linkerd.io\n",
		"obsolete  Deployment/tulle-old in namespace tulle\n", "\n1 new, 4 changed, ", ", 3 obsolete\n",
	} {
		if !strings.Contains(r.out, want) {
			t.Errorf("stdout lacks %q:\n%s", want, r.out)
		}
	}
	for _, unwanted := range []string{"dnsPolicy", "somebody else", "caBundle"} {
		if strings.Contains(r.out, unwanted) {
			t.Errorf("stdout has %q, which is not a field of the manifests:\n%s", unwanted, r.out)
		}
	}
}
