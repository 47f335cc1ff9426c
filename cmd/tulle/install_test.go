package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	metadatafake "k8s.io/client-go/metadata/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/cli/installation"
	"github.com/tulle-mesh/tulle/identity/ca"
	"github.com/tulle-mesh/tulle/mesh"
)

// credentials writes an anchor and an issuer below it to files.
func credentials(t *testing.T) (anchor, cert, key string) {
	t.Helper()
	root, err := ca.NewAnchor("cluster.local", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := ca.NewIssuer(root, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	return write("ca.crt", root.CertPEM), write("issuer.crt", issuer.CertPEM), write("issuer.key", issuer.KeyPEM)
}

func TestInstallIsTheSameTwice(t *testing.T) {
	a, b := runCLI(t, noCluster, "", "install"), runCLI(t, healthyCluster(t).connect, "", "install")
	if a.code != 0 || b.code != 0 || a.out != b.out {
		t.Errorf("exit codes %d and %d; the output depends on the cluster", a.code, b.code)
	}
	if a.err != "" || !strings.Contains(b.err, `Tulle is already installed in namespace "tulle" (dev)`) {
		t.Errorf("stderr without a cluster %q, want nothing; with an installation %q, want a note", a.err, b.err)
	}
}

// TestInstallNamesWhatItWouldReset installs over an installation with settings: what the flags do not name is not lost
// in silence.
func TestInstallNamesWhatItWouldReset(t *testing.T) {
	first := runCLI(t, noCluster, "", "install", "--set", "proxy.defaultInboundPolicy=deny,controllerReplicas=3")
	f := healthyCluster(t)
	config := find[*corev1.ConfigMap](t, f, installation.ConfigMap)
	for _, tree := range trees(t, first.out) {
		if name, _ := tree["metadata"].(map[string]any)["name"].(string); tree["kind"] == "ConfigMap" &&
			name == installation.ConfigMap {
			config.Data["install"] = tree["data"].(map[string]any)["install"].(string)
		}
	}
	const both = "controllerReplicas (3, now 1), proxy.defaultInboundPolicy (deny, now all-unauthenticated).\n  To " +
		"keep them, add --reuse-values"
	for name, test := range map[string]struct {
		args []string
		want string // of stderr; "" for no warning
		same bool   // the output is that of the first installation
	}{
		"nothing is set": {nil, both, false},
		"something else": {[]string{"--set", "proxy.logLevel=debug"}, both, false},
		"one of them": {[]string{"--controller-replicas=2"},
			"does not name: proxy.defaultInboundPolicy (deny, now all-unauthenticated).", false},
		"the same":             {[]string{"--set", "proxy.defaultInboundPolicy=deny,controllerReplicas=3"}, "", true},
		"the cluster's values": {[]string{"--reuse-values"}, "", true},
		"--ignore-cluster":     {[]string{"--ignore-cluster"}, "", false},
		"definitions alone":    {[]string{"--crds"}, "", false},
	} {
		r := runCLI(t, f.connect, "", append([]string{"install"}, test.args...)...)
		if r.code != 0 || !strings.Contains(r.err, test.want) || strings.Contains(r.err, "warning") != (test.want != "") {
			t.Errorf("%s: exit code %d, stderr %q; want %q", name, r.code, r.err, test.want)
		}
		if (r.out == first.out) != test.same {
			t.Errorf("%s: the output is that of the first installation: %t, want %t", name, !test.same, test.same)
		}
	}
	for name, connect := range map[string]connector{"no kubeconfig": noCluster,
		`configmaps "tulle-config" not found`: emptyCluster().connect} {
		if r := runCLI(t, connect, "", "install", "--reuse-values"); r.code != 1 || r.out != "" ||
			!strings.Contains(r.err, name) {
			t.Errorf("--reuse-values without an installation: exit code %d, stderr %q; want %q", r.code, r.err, name)
		}
	}
}

func TestInstallTakesCredentialsFromFilesAndFromValues(t *testing.T) {
	anchor, cert, key := credentials(t)
	read := func(file string) string {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	files := runCLI(t, noCluster, "", "install", "--identity-trust-anchors-file", anchor,
		"--identity-issuer-certificate-file", cert, "--identity-issuer-key-file", key)
	values := runCLI(t, noCluster, "", "install", "--set", "identityTrustAnchorsPEM="+read(anchor),
		"--set", "identity.issuer.tls.crtPEM="+read(cert), "--set", "identity.issuer.tls.keyPEM="+read(key))
	setFile := runCLI(t, noCluster, "", "install", "--set-file",
		"identityTrustAnchorsPEM="+anchor+",identity.issuer.tls.crtPEM="+cert+",identity.issuer.tls.keyPEM="+key)
	if files.code != 0 || files.out != values.out || files.out != setFile.out {
		t.Errorf("exit codes %d, %d, %d; stderr %q; want the same output thrice", files.code, values.code, setFile.code,
			files.err+values.err+setFile.err)
	}
	if !strings.Contains(files.out, "kind: Secret") {
		t.Error("the issuer is not in the output")
	}
	for missing, flags := range map[string][]string{
		"identityTrustAnchorsPEM":    {"--set-file", "identity.issuer.tls.crtPEM=" + cert},
		"identity.issuer.tls.crtPEM": {"--set-file", "identityTrustAnchorsPEM=" + anchor},
		"identity.issuer.tls.keyPEM": {"--set-file", "identityTrustAnchorsPEM=" + anchor + ",identity.issuer.tls.crtPEM=" +
			cert},
		"--identity-issuer-key-file": {"--identity-trust-anchors-file", anchor, "--identity-issuer-certificate-file", cert},
	} {
		r := runCLI(t, noCluster, "", append([]string{"install"}, flags...)...)
		if r.code != 1 || r.out != "" || !strings.Contains(r.err, missing) || !strings.Contains(r.err, "is missing") {
			t.Errorf("%q: exit code %d, stderr %q; want that %s is missing", flags, r.code, r.err, missing)
		}
	}
	for _, flags := range [][]string{{"--identity-issuer-certificate-file", cert},
		{"--identity-trust-anchors-file", anchor}} {
		if r := runCLI(t, noCluster, "", append([]string{"install"}, flags...)...); r.code != 1 || r.out != "" ||
			!strings.Contains(r.err, "if other credentials are provided") {
			t.Errorf("%q: exit code %d, stderr %q; want all or none", flags, r.code, r.err)
		}
	}
}

func TestInstallFlagsAreValues(t *testing.T) {
	flags := runCLI(t, noCluster, "", "install", "--registry=example.org/mesh/", "--controller-replicas=2",
		"--proxy-log-level=debug",
		"--skip-outbound-ports=3306,9000-9010", "--default-inbound-policy=deny", "--identity-external-issuer",
		"--identity-external-ca")
	file := `
controllerImage: example.org/mesh/controller
controllerReplicas: 2
proxy: {image: {name: example.org/mesh/proxy}, logLevel: debug, defaultInboundPolicy: deny}
proxyInit: {ignoreOutboundPorts: "3306,9000-9010"}
identity: {externalCA: true, issuer: {scheme: kubernetes.io/tls}}
`
	values := runCLI(t, noCluster, file, "install", "-f", "-")
	if flags.code != 0 || values.code != 0 || flags.out != values.out {
		t.Errorf("exit codes %d and %d, stderr %q; want the same output", flags.code, values.code, flags.err+values.err)
	}
}

func TestInstallSaysWhatHasNoEffect(t *testing.T) {
	r := runCLI(t, noCluster, "", "install", "--disable-heartbeat", "--linkerd-cni-enabled", "--set",
		"disableHeartBeat=true")
	if r.code != 0 || strings.Count(r.err, "warning: ") != 3 ||
		!strings.Contains(r.err, "--disable-heartbeat has no effect: nothing is ever reported home") {
		t.Errorf("exit code %d, stderr %q; want three warnings", r.code, r.err)
	}
	for _, args := range [][]string{{"--set", "controlerReplicas=2"}, {"-o", "xml"}, {"--controller-replicas=0"}, {"-f", "http://127.0.0.1/values.yaml"}} {
		if r := runCLI(t, noCluster, "", append([]string{"install"}, args...)...); r.code != 1 || r.out != "" {
			t.Errorf("%q: exit code %d, %d bytes on stdout; want an error and nothing to apply", args, r.code, len(r.out))
		}
	}
}

func TestInstallCRDsPrintsDefinitionsAlone(t *testing.T) {
	r := runCLI(t, noCluster, "", "install", "--crds")
	if own, gateway := countDefinitions(r.out); r.code != 0 || r.err != "" || own != 8 || gateway != 5 ||
		strings.Count(r.out, "\n---\n") != 12 {
		t.Errorf("exit code %d, stderr %q, %d definitions of our own and %d of the Gateway API; want 8 and 5 and nothing "+
			"else", r.code, r.err, own, gateway)
	}
	if whole := runCLI(t, noCluster, "", "install"); !strings.HasPrefix(whole.out, r.out) {
		t.Error("install does not begin with the definitions")
	}
}

func countDefinitions(stream string) (own, gateway int) {
	all := strings.Count(stream, "\nkind: CustomResourceDefinition\n")
	gateway = strings.Count(stream, "\n  group: gateway.networking.k8s.io\n")
	return all - gateway, gateway
}

func TestInstallLeavesAForeignGatewayAPIAlone(t *testing.T) {
	foreign := emptyCluster()
	foreign.resources = []*metav1.PartialObjectMetadata{{
		TypeMeta: metav1.TypeMeta{APIVersion: "apiextensions.k8s.io/v1", Kind: "CustomResourceDefinition"},
		ObjectMeta: metav1.ObjectMeta{
			Name:        "gateways.gateway.networking.k8s.io",
			Annotations: map[string]string{"gateway.networking.k8s.io/bundle-version": "v1.4.0"},
		},
	}}
	refuses := func(globalFlags) (*cluster.Client, error) {
		cl, err := emptyCluster().connect(globalFlags{})
		client := metadatafake.NewSimpleMetadataClient(metadatafake.NewTestScheme())
		client.PrependReactor("list", "*",
			func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, errors.New("not yours") })
		cl.Metadata = client
		return cl, err
	}
	for name, test := range map[string]struct {
		connect connector
		args    []string
		gateway int
		note    string
	}{
		"foreign": {foreign.connect, nil, 0,
			"note: the cluster has a Gateway API of its own (v1.4.0), which stays as it is\n"},
		"foreign, but not looked at": {foreign.connect, []string{"--ignore-cluster"}, 5, ""},
		"foreign, and not asked for": {foreign.connect, []string{"--set", "installGatewayAPI=false"}, 0, ""},
		"none, and not asked for":    {noCluster, []string{"--set", "installGatewayAPI=false"}, 0, ""},
		"a cluster that does not tell": {refuses, nil, 5,
			"note: printing every definition, since the cluster does not say what it has: list custom resource definitions: " +
				"not yours\n"},
	} {
		t.Run(name, func(t *testing.T) {
			r := runCLI(t, test.connect, "", append([]string{"install"}, test.args...)...)
			if own, gateway := countDefinitions(r.out); r.code != 0 || own != 8 || gateway != test.gateway ||
				r.err != test.note {
				t.Errorf("exit code %d, %d and %d definitions, stderr %q; want 8 and %d, and %q", r.code, own, gateway, r.err,
					test.gateway, test.note)
			}
		})
	}
}

func TestInstallWritesJSON(t *testing.T) {
	r := runCLI(t, noCluster, "", "install", "-o", "json")
	if lines := strings.Split(strings.TrimSpace(r.out), "\n"); r.code != 0 || len(lines) < 20 ||
		!strings.HasPrefix(lines[0], `{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition"`) {
		t.Errorf("exit code %d, %d lines, the first %.60s", r.code, len(lines), lines[0])
	}
}

// TestInstallRefusesASecondInstallation looks at a cluster whose installation is in another namespace: its cluster-wide
// objects have the names of those that install writes.
func TestInstallRefusesASecondInstallation(t *testing.T) {
	linkerd := emptyCluster()
	linkerd.objects = append(linkerd.objects, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{
		Name: "linkerd-identity", Labels: map[string]string{mesh.ControlPlaneNSLabel: "linkerd"}}})
	forbidden := healthyCluster(t)
	forbidden.mayNotLook = []string{"mutatingwebhookconfigurations"}
	const refusal = "namespace tulle has an installation of Tulle already"
	for name, test := range map[string]struct {
		connect connector
		args    []string
		code    int
		want    string // of stderr
	}{
		"another namespace": {healthyCluster(t).connect, []string{"install", "-L", "tulle2"}, 1, refusal},
		"its remedy": {healthyCluster(t).connect, []string{"install", "-L", "tulle2"}, 1,
			"add -L tulle; to move it"},
		"definitions alone":      {healthyCluster(t).connect, []string{"install", "-L", "tulle2", "--crds"}, 1, refusal},
		"the same namespace":     {healthyCluster(t).connect, []string{"install", "-L", "tulle"}, 0, "already installed"},
		"without looking":        {healthyCluster(t).connect, []string{"install", "-L", "tulle2", "--ignore-cluster"}, 0, ""},
		"without a cluster":      {noCluster, []string{"install", "-L", "tulle2"}, 0, ""},
		"a cluster with Linkerd": {linkerd.connect, []string{"install"}, 0, ""},
		"without the right": {forbidden.connect, []string{"install", "-L", "tulle2"}, 0,
			"note: not known whether another"},
		"check": {healthyCluster(t).connect, []string{"check", "--pre", "-L", "tulle2"}, 1, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := runCLI(t, test.connect, "", test.args...)
			if r.code != test.code || !strings.Contains(r.err, test.want) || test.want == "" && r.err != "" {
				t.Errorf("exit code %d, stderr %q; want %d and %q", r.code, r.err, test.code, test.want)
			}
			const failed = "× no other namespace has a control plane\n    " + refusal
			if isCheck := name == "check"; isCheck != strings.Contains(r.out, failed) {
				t.Errorf("stdout %.2000s; want %q: %t", r.out, failed, isCheck)
			}
			if test.args[0] == "install" && (r.out == "") != (test.code == 1) {
				t.Errorf("%d bytes on stdout with exit code %d", len(r.out), r.code)
			}
		})
	}
}

// TestInstallWarnsOfANamespaceThatApplicationsUse names who uses it, and what the output would change there.
func TestInstallWarnsOfANamespaceThatApplicationsUse(t *testing.T) {
	in := func(ns *corev1.Namespace, more ...runtime.Object) connector {
		f := emptyCluster()
		f.objects = append(append(f.objects, ns), more...)
		return f.connect
	}
	shop := func() *corev1.Namespace { return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}} }
	asks, ours := shop(), shop()
	asks.Annotations = map[string]string{mesh.InjectAnnotation: "enabled"}
	ours.Labels = map[string]string{installation.ControlPlaneLabel: "true"}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "shop"}}
	done := &corev1.Pod{ObjectMeta: pod.ObjectMeta, Status: corev1.PodStatus{Phase: corev1.PodSucceeded}}
	own := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "identity", Namespace: "shop",
		Labels: map[string]string{mesh.ControlPlaneComponentLabel: "identity"}}}
	const begin = "warning: applications use namespace shop: "
	for name, test := range map[string]struct {
		connect connector
		want    string // of stderr; "" for nothing
	}{
		"it asks for proxies": {in(asks), begin + "it asks for proxies.\n"},
		"it has pods":         {in(shop(), pod), begin + "its pods include web.\n"},
		"both":                {in(asks, pod), begin + "it asks for proxies; its pods include web.\n"},
		"pods that ended":     {in(shop(), done), ""},
		"our pods":            {in(shop(), own), ""},
		"it is empty":         {in(shop()), ""},
		"made for us":         {in(ours, pod), ""},
		"it does not exist":   {emptyCluster().connect, ""},
		"no cluster":          {noCluster, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := runCLI(t, test.connect, "", "install", "-L", "shop")
			if r.code != 0 || !strings.HasPrefix(r.err, test.want) || test.want == "" && r.err != "" {
				t.Errorf("exit code %d, stderr %q; want 0 and %q", r.code, r.err, test.want)
			}
			if test.want != "" && !strings.Contains(r.err,
				"annotation linkerd.io/inject to disabled and enforces the restricted") {
				t.Errorf("stderr %q does not say what would change", r.err)
			}
			if r := runCLI(t, test.connect, "", "install", "-L", "shop", "--crds"); r.err != "" {
				t.Errorf("definitions alone: stderr %q, want nothing", r.err)
			}
		})
	}
}
