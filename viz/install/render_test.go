package install

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"

	"github.com/tulle-mesh/tulle/crds/crdtest"
	"github.com/tulle-mesh/tulle/install"
	"github.com/tulle-mesh/tulle/internal/goldentest"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/viz/dashboards"
)

var variants = map[string]func(*Overrides) error{
	"default": func(*Overrides) error { return nil },
	"ha":      func(o *Overrides) error { return o.HighAvailability() },
	"set": func(o *Overrides) error {
		return o.Set(`defaultLogLevel=debug,metricsAPI.logLevel=warn,podLabels.team=mesh,podAnnotations.a\.b/c=true,` +
			`nodeSelector.disk=ssd,tolerations[0].key=infra,tolerations[0].operator=Exists,imagePullSecrets[0].name=regcred,` +
			`prometheus.args.storage\.tsdb\.retention\.time=12h,prometheus.args.web\.enable-lifecycle=,` +
			`prometheus.globalConfig.scrape_interval=15s,prometheus.resources.memory.limit=1Gi,defaultGID=65534`)
	},
	"external": func(o *Overrides) error {
		return o.Set("prometheus.enabled=false,prometheusUrl=https://thanos.monitoring.svc:9090/tenant," +
			"prometheusSecret.name=thanos,prometheusSecret.tokenKey=token,prometheusSecret.caKey=ca.crt")
	},
	"web": func(o *Overrides) error {
		if err := o.HighAvailability(); err != nil {
			return err
		}
		return o.Set("web.enabled=true,web.externalUrl=https://dashboard.example.com,web.clients={ingress-nginx/ingress-nginx}," +
			"web.impersonation.client=auth/oauth2-proxy,web.impersonation.groups={dev,ops}," +
			"grafana.externalUrl=https://grafana.example.com,web.traceUrl=https://traces.example.com/trace/")
	},
	"none": func(o *Overrides) error { return o.Set("prometheus.enabled=false,tap.enabled=false") },
}

// build returns the values after override. They must be valid.
func build(t *testing.T, override func(*Overrides) error) Values {
	t.Helper()
	o := NewOverrides()
	if err := override(o); err != nil {
		t.Fatal(err)
	}
	v, _, err := o.Values()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Validate(); err != nil {
		t.Fatal(err)
	}
	return v
}

func render(t *testing.T, v Values) []byte {
	t.Helper()
	out, err := Render(v, Target{Version: "v0.0.0-test"})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestRenderGolden(t *testing.T) {
	for name, override := range variants {
		t.Run(name, func(t *testing.T) {
			v := build(t, override)
			got := render(t, v)
			if again := render(t, v); !bytes.Equal(got, again) {
				t.Error("two renderings of the same values differ")
			}
			if bytes.Contains(got, []byte("kind: Secret\n")) {
				t.Error("the output holds a Secret")
			}
			file := filepath.Join("testdata", name+".yaml")
			goldentest.Equal(t, file, string(got))
		})
	}
}

// decodeStrict returns all objects of Kubernetes' own kinds. A field that Kubernetes or a definition of the mesh does
// not know is an error.
func decodeStrict(t *testing.T, stream []byte) []runtime.Object {
	t.Helper()
	decoder := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	var objects []runtime.Object
	for _, doc := range install.Documents(stream) {
		if strings.Contains("\n"+doc, "\napiVersion: apiregistration.k8s.io/") {
			if err := yaml.UnmarshalStrict([]byte(doc), new(apiService)); err != nil {
				t.Errorf("%v in\n%s", err, doc)
			}
			continue
		}
		if strings.Contains("\n"+doc, "\napiVersion: policy.linkerd.io/") {
			var tree map[string]any
			if err := yaml.Unmarshal([]byte(doc), &tree); err != nil {
				t.Fatal(err)
			}
			if err := crdtest.Validate(tree); err != nil {
				t.Errorf("%v in\n%s", err, doc)
			}
			continue
		}
		obj, _, err := decoder.Decode([]byte(doc), nil, nil)
		if err != nil {
			t.Fatalf("%v in\n%s", err, doc)
		}
		objects = append(objects, obj)
	}
	return objects
}

// apiService has the fields of Kubernetes' type that the manifests may use.
type apiService struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		Group                string `json:"group"`
		Version              string `json:"version"`
		GroupPriorityMinimum int32  `json:"groupPriorityMinimum"`
		VersionPriority      int32  `json:"versionPriority"`
		Service              struct {
			Name      string `json:"name"`
			Namespace string `json:"namespace"`
			Port      int32  `json:"port"`
		} `json:"service"`
	} `json:"spec"`
}

func TestEveryDocumentDecodesStrictly(t *testing.T) {
	for name, override := range variants {
		t.Run(name, func(t *testing.T) {
			objects := decodeStrict(t, render(t, build(t, override)))
			if _, first := objects[0].(*corev1.Namespace); !first {
				t.Errorf("the first document is a %T, want the namespace", objects[0])
			}
		})
	}
}

// TestPodsAreRestricted wants the Pod Security Standard "restricted" of all containers but those that injection adds.
func TestPodsAreRestricted(t *testing.T) {
	deployments := 0
	for _, obj := range decodeStrict(t, render(t, build(t, variants["web"]))) {
		d, ok := obj.(*appsv1.Deployment)
		if !ok {
			continue
		}
		deployments++
		pod := d.Spec.Template.Spec
		if s := pod.SecurityContext; s == nil || s.RunAsNonRoot == nil || !*s.RunAsNonRoot || s.SeccompProfile == nil ||
			s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
			t.Errorf("%s: pod security context %+v is not restricted", d.Name, s)
		}
		for _, c := range pod.Containers {
			s := c.SecurityContext
			if s == nil || *s.AllowPrivilegeEscalation || !*s.ReadOnlyRootFilesystem ||
				!slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) {
				t.Errorf("%s: container security context %+v is not restricted", d.Name, s)
			}
		}
		if d.Spec.Template.Annotations["linkerd.io/inject"] != "enabled" {
			t.Errorf("%s: asks for no proxy", d.Name)
		}
	}
	if deployments != 4 {
		t.Errorf("got %d deployments, want 4", deployments)
	}
}

func TestNamespacesAreTheOnesAskedFor(t *testing.T) {
	out, err := Render(Defaults(), Target{Namespace: "observe", ControlNamespace: "mesh", Version: "v1"})
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		if line = strings.TrimSpace(line); line == "namespace: tulle-viz" || strings.HasSuffix(line, "regex: tulle") ||
			strings.Contains(line, "prometheus.tulle-viz.svc") {
			t.Errorf("%q names the default namespace", line)
		}
	}
	decodeStrict(t, out)
	for name, target := range map[string]Target{
		"no name":             {Namespace: "No Name"},
		"the control plane's": {Namespace: "tulle"},
	} {
		if _, err := Render(Defaults(), target); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}

// TestValuesSurviveTheirStorage reads the values back from the ConfigMap, as check and prune do.
func TestValuesSurviveTheirStorage(t *testing.T) {
	for name, override := range variants {
		want := build(t, override)
		for _, obj := range decodeStrict(t, render(t, want)) {
			if config, ok := obj.(*corev1.ConfigMap); ok && config.Name == ConfigMap {
				got, err := ReadValues(config.Data["install"])
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(render(t, want), render(t, got)) {
					t.Errorf("%s: the stored values render other manifests", name)
				}
			}
		}
	}
}

// TestScrapingIsTheDocumentedOne compares the jobs with those of docs/dashboards.md, for a Prometheus of the user's.
func TestScrapingIsTheDocumentedOne(t *testing.T) {
	doc, err := os.ReadFile("../../docs/dashboards.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(doc), "```yaml\n")
	block, _, _ := strings.Cut(rest, "```")
	type file struct {
		Jobs []map[string]any `json:"scrape_configs"`
	}
	var documented, rendered file
	c, err := newContext(Defaults(), Target{})
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal([]byte(block), &documented); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal([]byte(c.PrometheusConfig), &rendered); err != nil {
		t.Fatal(err)
	}
	rendered.Jobs = slices.DeleteFunc(rendered.Jobs, func(j map[string]any) bool { return j["job_name"] == "prometheus" })
	if diff := cmp.Diff(documented.Jobs, rendered.Jobs); diff != "" {
		t.Errorf("the jobs differ from docs/dashboards.md (-documented +rendered):\n%s", diff)
	}
}

func TestMistakesNameTheKey(t *testing.T) {
	for _, test := range []struct{ expr, want string }{
		{"podMonitor.labels.release=a b", `podMonitor.labels.release "a b"`},
		{"prometheusUrl=thanos:9090", `prometheusUrl "thanos:9090": want a URL`},
		{"prometheusUrl=http://x,prometheusJobs={}", "prometheusJobs: want the job"},
		{`prometheusUrl=http://x,prometheusJobs[0]=a"b`, "prometheusJobs \"a"},
		{"prometheusUrl=https://user:secret@thanos", "prometheusUrl: has a password"},
		{"prometheusSecret.name=x", "prometheusSecret: is for prometheusUrl"},
		{"prometheusUrl=http://x,prometheusSecret.name=x", "prometheusSecret: want name, and tokenKey or caKey"},
		{"prometheusUrl=http://x,prometheusSecret.caKey=x", "prometheusSecret: want name, and tokenKey or caKey"},
		{`prometheus.args.config\.file=/x`, `prometheus.args "config.file": the manifests set this themselves`},
		{"prometheus.globalConfig.scrape_interval=often", `prometheus.globalConfig.scrape_interval "often": want a duration`},
		{"prometheus.globalConfig.scrape_interval=5s", "prometheus.globalConfig.scrape_timeout 10s: is longer than"},
		{"web.enabled=true", "web.externalUrl: want where browsers reach"},
		{"web.enabled=true,web.externalUrl=https://x", "web.clients: want the ServiceAccount"},
		{"web.enabled=true,web.externalUrl=x,web.clients={a/b}", `web.externalUrl "x": want a URL`},
		{"web.externalUrl=https://x/tulle", `web.externalUrl "https://x/tulle": want a URL without a path`},
		{"web.clients={ingress}", `web.clients "ingress": want a ServiceAccount as namespace/name`},
		{"web.impersonation.client=oauth2-proxy", `web.clients "oauth2-proxy"`},
		{"web.impersonation.groups={system:masters}", `web.impersonation.groups "system:masters"`},
		{"web.impersonation.userHeader=X User", `web.impersonation.userHeader "X User"`},
		{"web.replicas=0", "web.replicas 0: want at least 1"},
		{"grafana.externalUrl=grafana", `grafana.externalUrl "grafana": want a URL`},
		{"tap.replicas=0", "tap.replicas 0: want at least 1"},
		{"identityTrustDomain=a b", `identityTrustDomain "a b"`},
		{"metricsAPI.replicas=0", "metricsAPI.replicas 0: want at least 1"},
		{"metricsAPI.resources.cpu.limit=much", "metricsAPI.resources.cpu limits"},
		{"prometheus.image.registry=", "prometheus.image \"/prometheus\": want a registry"},
		{"prometheus.logLevel=loud", `prometheus.logLevel "loud": want debug`},
		{"defaultUID=0", "defaultUID 0: want at least 1"},
		{"podLabels.linkerd\\.io/extension=x", "the manifests set this themselves"},
		{"metricsAPI.image.pullPolicy=Sometimes", `metricsAPI.image.pullPolicy "Sometimes": want Always`},
		{"prometheusURL=http://x", "did you mean prometheusUrl?"},
		{"prometheusUrl=http://x,prometheusSecret.name=x/,prometheusSecret.caKey=a", `prometheusSecret.name "x/"`},
	} {
		o := NewOverrides()
		err := o.Set(test.expr)
		if err == nil {
			v, _, valueErr := o.Values()
			if err = valueErr; err == nil {
				_, err = v.Validate()
			}
		}
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got error %v, want one with %q", test.expr, err, test.want)
		}
	}
}

func TestEveryIgnoredKeyIsUnknown(t *testing.T) {
	for _, key := range schema.Keys() {
		if _, ignored := linkerdOnly[key]; ignored {
			t.Errorf("%s is in values.yaml and in the list of keys without effect", key)
		}
	}
}

// TestMonitoringObjectsFollow checks that the options for the Prometheus Operator and Grafana add their objects to the
// end of the output, and change nothing else than the recorded values.
func TestMonitoringObjectsFollow(t *testing.T) {
	out := render(t, build(t, func(o *Overrides) error {
		return o.Set("podMonitor.enabled=true,podMonitor.labels.release=stack,prometheusRule.enabled=true," +
			"grafana.dashboards.enabled=true")
	}))
	want := slices.Concat(dashboards.PodMonitors(Namespace, "tulle", map[string]string{"release": "stack"}),
		dashboards.PrometheusRule(Namespace, nil), dashboards.ConfigMaps(Namespace))
	if !bytes.HasSuffix(out, want) {
		t.Error("the output does not end with the PodMonitors, the PrometheusRule and the ConfigMaps")
	}
	plain := install.Documents(render(t, build(t, variants["default"])))
	if got := len(install.Documents(out)); got != len(plain)+2+1+len(dashboards.Names()) {
		t.Errorf("got %d documents, and %d without the options", got, len(plain))
	}
}

// TestMonitoringAsksForTheJobs wants alerts and dashboards to ask for the jobs with which the user's Prometheus reads
// proxies.
func TestMonitoringAsksForTheJobs(t *testing.T) {
	const monitoring = "prometheusRule.enabled=true,grafana.dashboards.enabled=true,prometheus.enabled=false," +
		"prometheusUrl=http://x"
	usual := render(t, build(t, func(o *Overrides) error { return o.Set(monitoring) }))
	if !bytes.Contains(usual, []byte(`{job="linkerd-proxy"`)) || !bytes.Contains(usual, []byte(`{job=\"linkerd-proxy\"`)) {
		t.Error("alerts or dashboards do not ask for the usual job")
	}
	out := render(t, build(t, func(o *Overrides) error { return o.Set(monitoring + `,prometheusJobs={mesh,a: #c}`) }))
	for _, want := range []string{`{job=~"mesh|a...c"`, `{job=~\"mesh|a...c\"`} {
		if !bytes.Contains(out, []byte(want)) {
			t.Errorf("no query has %s", want)
		}
	}
	if bytes.Contains(out, []byte(`="linkerd-proxy"`)) || bytes.Contains(out, []byte(`=\"linkerd-proxy\"`)) {
		t.Error("a query asks for the job linkerd-proxy")
	}
	for _, doc := range install.Documents(out) {
		if err := yaml.Unmarshal([]byte(doc), new(any)); err != nil {
			t.Errorf("%v in\n%.300s", err, doc)
		}
	}
}

// TestMonitorOfTheExtension wants the operator's Prometheus to read metrics-api and tap too, where the policies let it:
// alerts are about them.
func TestMonitorOfTheExtension(t *testing.T) {
	for values, want := range map[string]bool{
		"podMonitor.enabled=true": false, "podMonitor.enabled=true,prometheus.enabled=false": true,
	} {
		out := render(t, build(t, func(o *Overrides) error { return o.Set(values) }))
		if got := bytes.HasSuffix(out, dashboards.ExtensionPodMonitor(Namespace, nil)); got != want {
			t.Errorf("%s: has a PodMonitor of the extension: %v, want %v", values, got, want)
		}
	}
}

// TestTapSeesAddresses wants the tap pod's sidecar to leave its port alone: the server bounds connections by address.
func TestTapSeesAddresses(t *testing.T) {
	for _, object := range decodeStrict(t, render(t, build(t, variants["default"]))) {
		d, ok := object.(*appsv1.Deployment)
		if !ok || d.Name != TapName {
			continue
		}
		const key = "config.linkerd.io/skip-inbound-ports"
		if got := d.Spec.Template.Annotations[key]; got != strconv.Itoa(mesh.TapPort) {
			t.Errorf("%s is %q", key, got)
		}
		return
	}
	t.Error("no tap")
}

// TestDashboardMayImpersonateIfAsked: without a proxy that names users, the dashboard may only list namespaces.
func TestDashboardMayImpersonateIfAsked(t *testing.T) {
	out := string(render(t, build(t, func(o *Overrides) error {
		return o.Set("web.enabled=true,web.externalUrl=https://x,web.clients={ingress/ingress}")
	})))
	if strings.Contains(out, "impersonate") || !strings.Contains(out, "name: tulle-viz-web") {
		t.Error("the manifests grant impersonation, or have no dashboard")
	}
}
