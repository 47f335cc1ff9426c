// Package chart compares the Helm chart with `tulle install`, by Helm's own library.
package chart

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v4/pkg/action"
	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/lint/support"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	release "helm.sh/helm/v4/pkg/release/v1"
	"helm.sh/helm/v4/pkg/strvals"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/tulle-mesh/tulle/identity/ca"
	"github.com/tulle-mesh/tulle/injector/inject"
	"github.com/tulle-mesh/tulle/install"
	"github.com/tulle-mesh/tulle/install/manifests"
)

const (
	folder  = "../../install/chart"
	version = "v1.2.3"
)

// now is a time at which the certificates of the tests are valid.
var now = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// arguments are what a user gives to either command.
type arguments struct {
	namespace string
	// set are arguments of --set. file is a values file; "ha" stands for values-ha.yaml, which is --ha.
	set  []string
	file string
	// upgrade renders as helm upgrade does.
	upgrade bool
}

// helm returns what `helm template` prints, or its error.
func helm(t *testing.T, a arguments) ([]byte, error) {
	t.Helper()
	c, err := loader.LoadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	c.Metadata.AppVersion = version // as a release does
	values := map[string]any{}
	text := []byte(a.file)
	if a.file == "ha" {
		for _, f := range c.Raw {
			if f.Name == "values-ha.yaml" {
				text = f.Data
			}
		}
	}
	if err := yaml.Unmarshal(text, &values); err != nil {
		t.Fatal(err)
	}
	for _, set := range a.set {
		if err := strvals.ParseInto(set, values); err != nil {
			t.Fatal(err)
		}
	}
	run := action.NewInstall(action.NewConfiguration())
	run.DryRunStrategy, run.ReleaseName, run.Namespace, run.Replace = action.DryRunClient, "tulle", a.namespace, true
	run.IsUpgrade, run.IncludeCRDs = a.upgrade, true
	run.KubeVersion = &common.KubeVersion{Version: "v1.36.0", Major: "1", Minor: "36"} // in tests it would be 1.20
	rel, err := run.Run(c, values)
	if err != nil {
		return nil, err
	}
	r, ok := rel.(*release.Release)
	if !ok || len(r.Hooks) > 0 {
		t.Fatalf("release %T with hooks; want one without", rel)
	}
	return []byte(r.Manifest), nil
}

// tulle returns what `tulle install` prints where it does not look at a cluster, or its error.
func tulle(t *testing.T, a arguments) ([]byte, error) {
	t.Helper()
	o := install.NewOverrides()
	err := o.File("values", []byte(a.file))
	if a.file == "ha" {
		err = o.HighAvailability()
	}
	for _, set := range a.set {
		err = errors.Join(err, o.Set(set))
	}
	if err != nil {
		return nil, err
	}
	v, _, err := o.Values()
	if err != nil {
		return nil, err
	}
	if _, err := v.Validate(now); err != nil {
		return nil, err
	}
	target := install.Target{Namespace: a.namespace, Version: version}
	all, err := install.Definitions(target)
	if err != nil {
		t.Fatal(err)
	}
	missing := all[:0]
	for _, d := range all {
		if v.InstallGatewayAPI || !d.Gateway() {
			missing = append(missing, d)
		}
	}
	out, err := manifests.Render(v, target)
	return append(install.RenderCRDs(missing), out...), err
}

// objects returns the objects of a stream by kind, namespace and name. The ConfigMap of the values has them decoded:
// the CLI writes a duration in its shortest form, and Helm as the user did.
func objects(t *testing.T, stream []byte) map[string]any {
	t.Helper()
	out := map[string]any{}
	for _, text := range strings.Split("\n"+string(stream), "\n---\n") {
		doc := []byte(text)
		o := unstructured.Unstructured{}
		if err := yaml.UnmarshalStrict(append(doc, '\n'), &o.Object); err != nil {
			t.Fatalf("%v in\n%s", err, doc)
		}
		if len(o.Object) == 0 {
			continue
		}
		name := o.GetKind() + "/" + o.GetNamespace() + "/" + o.GetName()
		if _, twice := out[name]; twice {
			t.Errorf("%s is printed twice", name)
		}
		out[name] = o.Object
		if data, ok := o.Object["data"].(map[string]any); ok && o.GetName() == "tulle-config" {
			values, err := inject.ParseValues([]byte(data["values"].(string)))
			if err != nil {
				t.Fatal(err)
			}
			installed, err := install.Installed(data["install"].(string))
			if err != nil {
				t.Fatal(err)
			}
			data["values"], data["install"] = values, installed
		}
	}
	return out
}

// pem returns --set arguments for an anchor and an issuer under it.
func pem(t *testing.T) (anchor, issuer string) {
	t.Helper()
	root, err := ca.NewAnchor("cluster.local", now)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.NewIssuer(root, now)
	if err != nil {
		t.Fatal(err)
	}
	return "identityTrustAnchorsPEM=" + string(root.CertPEM),
		"identity.issuer.tls.crtPEM=" + string(pair.CertPEM) + ",identity.issuer.tls.keyPEM=" + string(pair.KeyPEM)
}

func combinations(t *testing.T) map[string]arguments {
	anchor, issuer := pem(t)
	sets := map[string][]string{
		"defaults":       nil,
		"no Gateway API": {"installGatewayAPI=false"},
		"other domain":   {"clusterDomain=example.org"},
		"trust domain":   {"identityTrustDomain=mesh.example.org,clusterDomain=example.org"},
		"networks":       {`clusterNetworks=10.0.0.0/8\,fd00::/8`},
		"image version":  {"linkerdVersion=v0.9.0,proxy.image.version=v0.8.0"},
		"images": {
			"controllerImage=example.org/c", "proxy.image.name=example.org/p", "imagePullPolicy=Always",
		},
		"proxy's own pull policy": {"proxy.image.pullPolicy=Never"},
		"pull secrets":            {"imagePullSecrets[0].name=a,imagePullSecrets[1].name=b.c"},
		"replicas":                {"controllerReplicas=3,enablePodAntiAffinity=true"},
		"disruption budgets":      {"enablePodDisruptionBudget=true"},
		"logs": {
			"controllerLogLevel=debug", "controllerLogFormat=json", "proxy.logLevel=warn",
			"proxy.logFormat=json",
		},
		"users":        {"controllerUID=1000,controllerGID=2000,proxy.uid=3000,proxy.gid=3000"},
		"a large user": {"controllerUID=1000660000,proxy.uid=1000660001"},
		"labels and annotations": {
			`podLabels.team=mesh,podAnnotations.a\.b/c=x: {y`, `podLabels.example\.org/z=1a`,
		},
		"placement": {"priorityClassName=system-cluster-critical,nodeSelector.disk=ssd"},
		"tolerations": {
			"tolerations[0].key=infra,tolerations[0].operator=Exists,tolerations[0].tolerationSeconds=30",
		},
		"quantities in other forms": {
			"identityResources.cpu.limit=1000m", "identityResources.memory.limit=1024Mi",
			"destinationResources.cpu.request=0.5",
		},
		"quantities with fractions": {
			"identityResources.memory.limit=1.5Gi", "destinationResources.memory.limit=0.5Gi",
			"proxyInjectorResources.memory.limit=1500k",
		},
		"quantities of other units": {
			"identityResources.memory.limit=300M", "destinationResources.memory.limit=1Ti",
			"proxyInjectorResources.ephemeral-storage.limit=2G",
		},
		"quantities in bytes": {
			`identityResources.ephemeral-storage.limit=1e9`, "identityResources.cpu.request=1.5",
			"identityResources.cpu.limit=2.50",
		},
		"no memory limits": {
			"identityResources.memory.limit=", "destinationResources.memory.limit=",
			"proxyInjectorResources.memory.limit=",
		},
		"no resources": {
			"identityResources.cpu.request=", "identityResources.memory.request=",
			"identityResources.memory.limit=",
		},
		"issuer's times": {
			"identity.issuer.issuanceLifetime=1h30m", "identity.issuer.clockSkewAllowance=1m",
		},
		"own credentials":             {anchor, issuer},
		"external issuer":             {"identity.issuer.scheme=kubernetes.io/tls", anchor},
		"external issuer and anchors": {"identity.issuer.scheme=kubernetes.io/tls,identity.externalCA=true"},
		"external anchors":            {"identity.externalCA=true", issuer},
		"fail open":                   {"webhookFailurePolicy=Ignore,proxyInjector.timeoutSeconds=10"},
		"what pods may set":           {"podMaySet={proxy-image}"},
		"ports of the proxy": {
			"proxy.ports.inbound=14143", "proxy.ports.outbound=14140", "proxy.ports.admin=14191",
			"proxy.ports.control=14190",
		},
		"tap": {"proxy.tap.enabled=false,proxy.tap.redactedHeaders=x-a"},
		"tracing": {
			"proxy.tracing.enabled=true", "proxy.tracing.collector.endpoint=collector.tracing:4317",
			"proxy.tracing.samplingRatio=0.5",
		},
		"access log": {"proxy.accessLog=apache,proxy.defaultInboundPolicy=deny"},
		"resources of proxies": {
			"proxy.resources.cpu.ratioLimit=0.5", "proxy.resources.memory.limit=250Mi",
			"proxy.resources.cpu.request=",
		},
		"ports": {
			`proxy.opaquePorts=25\,100-200,proxy.requireIdentityOnInboundPorts=80,proxyInit.ignoreInboundPorts=1\,2`,
		},
		"no ports": {
			"proxy.opaquePorts=", "proxyInit.ignoreInboundPorts=", "proxyInit.ignoreOutboundPorts=",
		},
		"no capture of networks":   {`proxyInit.skipSubnets=10.1.0.0/16\, 10.2.0.0/16`},
		"durations in other forms": {"proxy.shutdownGracePeriod=90s,proxy.outboundConnectTimeout=1500ms"},
		"switches": {
			"proxy.nativeSidecar=false", "proxy.await=false", "proxy.enableShutdownEndpoint=true",
			"proxy.disableInboundProtocolDetectTimeout=true",
		},
		"wait and environment": {
			"proxy.waitBeforeExitSeconds=10", "proxy.additionalEnv[0].name=GODEBUG,proxy.additionalEnv[0].value=x=1",
		},
	}
	out := map[string]arguments{
		"high availability": {namespace: "tulle", file: "ha"},
		"high availability with more": {namespace: "tulle", file: "ha",
			set: []string{"controllerReplicas=5,identityResources.memory.limit=500Mi"}},
		"a values file": {namespace: "tulle",
			file: "proxy:\n  logLevel: debug\nidentityResources:\n  cpu: {limit: \"2\"}\n"},
		"a text around certificates": {namespace: "tulle",
			set: []string{strings.Replace(anchor, "=", "=# the root\n", 1), issuer}},
		"another namespace": {namespace: "mesh-system", set: []string{"clusterDomain=example.org"}},
		"an upgrade":        {namespace: "tulle", upgrade: true},
	}
	for name, set := range sets {
		out[name] = arguments{namespace: "tulle", set: set}
	}
	return out
}

// TestHelmGivesTheSameObjects renders each combination twice with Helm and once with the CLI. Only the CLI prints the
// Namespace: Helm keeps its release in it, so it exists before.
func TestHelmGivesTheSameObjects(t *testing.T) {
	all := combinations(t)
	if len(all) < 30 {
		t.Errorf("%d combinations, want at least 30", len(all))
	}
	for name, a := range all {
		t.Run(name, func(t *testing.T) {
			printed, err := tulle(t, a)
			if err != nil {
				t.Fatal(err)
			}
			rendered, err := helm(t, a)
			if err != nil {
				t.Fatal(err)
			}
			again, err := helm(t, a)
			if err != nil || !bytes.Equal(rendered, again) {
				t.Errorf("Helm renders other manifests the second time (error %v)", err)
			}
			want := objects(t, printed)
			if _, ok := want["Namespace//"+a.namespace]; !ok {
				t.Error("the CLI prints no Namespace")
			}
			delete(want, "Namespace//"+a.namespace)
			if diff := cmp.Diff(want, objects(t, rendered)); diff != "" {
				t.Errorf("objects (-tulle install +helm template):\n%s", diff)
			}
		})
	}
}

// TestBothRefuseWrongValues sets one wrong value at a time. Both errors name its key.
func TestBothRefuseWrongValues(t *testing.T) {
	anchor, issuer := pem(t)
	for _, test := range []struct {
		key string // in the CLI's error; in Helm's it may be a path with slashes
		set []string
	}{
		{"controllerReplicass", []string{"controllerReplicass=2"}},
		{"proxy.logLevl", []string{"proxy.logLevl=debug"}},
		{"controllerReplicas", []string{"controllerReplicas=0"}},
		{"controllerReplicas", []string{"controllerReplicas=two"}},
		{"controllerReplicas", []string{"controllerReplicas=1.5"}},
		{"enablePodAntiAffinity", []string{"enablePodAntiAffinity=yes"}},
		{"proxy", []string{"proxy=1"}},
		{"controllerUID", []string{"controllerUID=0"}},
		{"controllerLogLevel", []string{"controllerLogLevel=loud"}},
		{"controllerLogFormat", []string{"controllerLogFormat=xml"}},
		{"controllerImage", []string{"controllerImage=a b"}},
		{"imagePullPolicy", []string{"imagePullPolicy=Sometimes"}},
		{"imagePullSecrets[0].name", []string{"imagePullSecrets[0].name=a_b"}},
		{"clusterDomain", []string{"clusterDomain=a_b"}},
		{"clusterNetworks", []string{"clusterNetworks=ten"}},
		{"clusterNetworks", []string{"clusterNetworks=10.0.0.0/33"}},
		{"identityTrustDomain", []string{"identityTrustDomain=A B"}},
		{"podLabels", []string{`podLabels.linkerd\.io/x=1a`}},
		{"podLabels.a", []string{"podLabels.a=x y"}},
		{"podAnnotations", []string{`podAnnotations.linkerd\.io/inject=enabled`}},
		{"nodeSelector", []string{"nodeSelector.a b=c"}},
		{"priorityClassName", []string{"priorityClassName=A"}},
		{"tolerations", []string{"tolerations[0].key=a b"}},
		{"webhookFailurePolicy", []string{"webhookFailurePolicy=Perhaps"}},
		{"proxyInjector.timeoutSeconds", []string{"proxyInjector.timeoutSeconds=31"}},
		{"identityResources", []string{"identityResources.memory.limit=lots"}},
		{"identityResources", []string{"identityResources.cpu.limit=0m"}},
		{"identity.issuer.scheme", []string{"identity.issuer.scheme=x"}},
		{"identity.issuer", []string{"identity.issuer.issuanceLifetime=48h"}},
		{"identity.issuer.issuanceLifetime", []string{"identity.issuer.issuanceLifetime=soon"}},
		{"identity.issuer", []string{"identity.issuer.clockSkewAllowance=11m"}},
		{"proxy.shutdownGracePeriod", []string{"proxy.shutdownGracePeriod=soon"}},
		{"proxy.opaquePorts", []string{"proxy.opaquePorts=redis"}},
		{"proxy.uid", []string{"proxy.uid=0"}},
		{"identityTrustAnchorsPEM", []string{issuer}},
		{"identity.issuer.tls.crtPEM", []string{anchor}},
		{"identityTrustAnchorsPEM", []string{"identityTrustAnchorsPEM=hello", issuer}},
		{"identityTrustAnchorsPEM", []string{"identity.issuer.scheme=kubernetes.io/tls"}},
		{"issuer", []string{"identity.issuer.scheme=kubernetes.io/tls", anchor, issuer}},
	} {
		t.Run(strings.Join(test.set, ","), func(t *testing.T) {
			a := arguments{namespace: "tulle", set: test.set}
			last := test.key[strings.LastIndexByte(test.key, '.')+1:]
			if _, err := tulle(t, a); err == nil || !strings.Contains(err.Error(), test.key) {
				t.Errorf("tulle: error %v, want one that names %s", err, test.key)
			}
			_, err := helm(t, a)
			if err == nil || !strings.Contains(err.Error(), last) && !strings.Contains(err.Error(),
				strings.ReplaceAll(strings.ReplaceAll(test.key, "[", "."), "]", "")) {
				t.Errorf("helm: error %v, want one that names %s", err, test.key)
			}
			if err != nil && strings.Contains(err.Error(), "PRIVATE KEY-----\n") {
				t.Error("helm: the error has a private key")
			}
		})
	}
}

// TestChartIsLinted runs `helm lint --strict`.
func TestChartIsLinted(t *testing.T) {
	for _, message := range lint.RunAll(folder, nil, "tulle").Messages {
		if message.Severity >= support.InfoSev && !strings.Contains(message.Error(), "icon is recommended") {
			t.Error(message)
		}
	}
}
