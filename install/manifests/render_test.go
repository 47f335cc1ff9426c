package manifests

import (
	"bytes"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"

	"github.com/tulle-mesh/tulle/injector/inject"
	"github.com/tulle-mesh/tulle/install"
	"github.com/tulle-mesh/tulle/internal/goldentest"
)

// now is a time at which the certificates of testdata are valid.
var now = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// build returns the values after override. They must be valid.
func build(t *testing.T, override func(*install.Overrides) error) install.Values {
	t.Helper()
	o := install.NewOverrides()
	if err := override(o); err != nil {
		t.Fatal(err)
	}
	v, _, err := o.Values()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Validate(now); err != nil {
		t.Fatal(err)
	}
	return v
}

func render(t *testing.T, v install.Values) []byte {
	t.Helper()
	out, err := Render(v, install.Target{Version: "v0.0.0-test"})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

var variants = map[string]func(*install.Overrides) error{
	"default": func(*install.Overrides) error { return nil },
	"ha":      (*install.Overrides).HighAvailability,
	"set": func(o *install.Overrides) error {
		return o.Set(
			`controllerReplicas=2,proxy.logLevel=debug,clusterDomain=example.org,podLabels.team=mesh,podAnnotations.a\.b/c=true,` +
				`nodeSelector.disk=ssd,tolerations[0].key=infra,tolerations[0].operator=Exists,imagePullSecrets[0].name=regcred,` +
				`priorityClassName=high,controllerGID=65534,identityResources.cpu.limit=1000m,webhookFailurePolicy=Ignore`)
	},
	"external-issuer": func(o *install.Overrides) error {
		return o.Set("identity.issuer.scheme=kubernetes.io/tls,identity.externalCA=true")
	},
}

func TestRenderGolden(t *testing.T) {
	for name, override := range variants {
		t.Run(name, func(t *testing.T) {
			got := render(t, build(t, override))
			file := filepath.Join("testdata", name+".yaml")
			goldentest.Equal(t, file, string(got))
		})
	}
}

func TestRenderIsTheSameEveryTime(t *testing.T) {
	v := build(t, variants["set"])
	want := render(t, v)
	for range 20 {
		if got := render(t, v); !bytes.Equal(got, want) {
			t.Fatal("two renderings of the same values differ")
		}
	}
}

// decodeStrict returns all objects of the stream. A field that Kubernetes does not know is an error.
func decodeStrict(t *testing.T, stream []byte) []runtime.Object {
	t.Helper()
	decoder := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	var objects []runtime.Object
	for _, doc := range install.Documents(stream) {
		obj, _, err := decoder.Decode([]byte(doc), nil, nil)
		if err != nil {
			t.Fatalf("%v in\n%s", err, doc)
		}
		objects = append(objects, obj)
	}
	return objects
}

func deployments(objects []runtime.Object) []*appsv1.Deployment {
	var out []*appsv1.Deployment
	for _, obj := range objects {
		if d, ok := obj.(*appsv1.Deployment); ok {
			out = append(out, d)
		}
	}
	return out
}

func TestEveryDocumentDecodesStrictly(t *testing.T) {
	for name, override := range variants {
		t.Run(name, func(t *testing.T) {
			objects := decodeStrict(t, render(t, build(t, override)))
			if _, first := objects[0].(*corev1.Namespace); !first {
				t.Errorf("the first document is a %T, want the namespace", objects[0])
			}
			if got := len(deployments(objects)); got != 3 {
				t.Errorf("got %d deployments, want 3", got)
			}
			// The webhook comes last: no pod may reach the injector before everything that it needs was applied.
			if _, last := objects[len(objects)-1].(*admissionv1.MutatingWebhookConfiguration); !last {
				t.Errorf("the last document is a %T, want the webhook", objects[len(objects)-1])
			}
		})
	}
}

func TestOutputHoldsNoSecrets(t *testing.T) {
	for name, override := range variants {
		out := render(t, build(t, override))
		if bytes.Contains(out, []byte("kind: Secret")) || bytes.Contains(out, []byte("PRIVATE KEY")) {
			t.Errorf("%s: the output holds a Secret or a key", name)
		}
	}
}

func TestDefaultMemoryRequestsStaySmall(t *testing.T) {
	var sum resource.Quantity
	for _, d := range deployments(decodeStrict(t, render(t, build(t, variants["default"])))) {
		for _, c := range d.Spec.Template.Spec.Containers {
			sum.Add(c.Resources.Requests[corev1.ResourceMemory])
		}
	}
	if limit := resource.MustParse("120Mi"); sum.IsZero() || sum.Cmp(limit) > 0 {
		t.Errorf("the control plane requests %s of memory, want at most %s", sum.String(), limit.String())
	}
}

// The rules are those of the Pod Security Standard "restricted", which the namespace enforces.
func TestPodsAreRestricted(t *testing.T) {
	for _, d := range deployments(decodeStrict(t, render(t, build(t, variants["ha"])))) {
		pod := d.Spec.Template.Spec
		if s := pod.SecurityContext; s == nil || s.RunAsNonRoot == nil || !*s.RunAsNonRoot || s.SeccompProfile == nil ||
			s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
			t.Errorf("%s: pod security context %+v is not restricted", d.Name, s)
		}
		if pod.HostNetwork || pod.HostPID || pod.HostIPC {
			t.Errorf("%s: shares a namespace of the host", d.Name)
		}
		for _, volume := range pod.Volumes {
			if volume.HostPath != nil {
				t.Errorf("%s: volume %s is a path of the host", d.Name, volume.Name)
			}
		}
		for _, c := range pod.Containers {
			s := c.SecurityContext
			if s == nil || *s.AllowPrivilegeEscalation || !*s.ReadOnlyRootFilesystem ||
				!slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) {
				t.Errorf("%s: container security context %+v is not restricted", d.Name, s)
			}
			if c.Resources.Limits.Memory().IsZero() {
				t.Errorf("%s: no memory limit", d.Name)
			}
		}
	}
}

func TestInjectorReadsWhatInstallWrites(t *testing.T) {
	for name, override := range variants {
		v := build(t, override)
		for _, obj := range decodeStrict(t, render(t, v)) {
			config, ok := obj.(*corev1.ConfigMap)
			if !ok || config.Name != "tulle-config" {
				continue
			}
			got, err := inject.ParseValues([]byte(config.Data["values"]))
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			want := v.ProxyDefaults(install.Target{Version: "v0.0.0-test"})
			if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s: the injector would read other values (-want +got):\n%s", name, diff)
			}
			var again install.Values
			if err := yaml.UnmarshalStrict([]byte(config.Data["install"]), &again); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if diff := cmp.Diff(v, again, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("%s: the values do not survive their storage (-want +got):\n%s", name, diff)
			}
		}
	}
}

// TestEmptyValuesStayEmpty: the injector reads over its own defaults, so a key that is left out is not empty.
func TestEmptyValuesStayEmpty(t *testing.T) {
	v := build(t, func(o *install.Overrides) error {
		return o.Set("proxy.opaquePorts=,proxyInit.ignoreInboundPorts=,proxyInit.ignoreOutboundPorts=")
	})
	for _, obj := range decodeStrict(t, render(t, v)) {
		config, ok := obj.(*corev1.ConfigMap)
		if !ok || config.Name != "tulle-config" {
			continue
		}
		got, err := inject.ParseValues([]byte(config.Data["values"]))
		if err != nil {
			t.Fatal(err)
		}
		installed, err := install.Installed(config.Data["install"])
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{got.Proxy.OpaquePorts, got.ProxyInit.IgnoreInboundPorts,
			got.ProxyInit.IgnoreOutboundPorts, installed.Proxy.OpaquePorts, installed.ProxyInit.IgnoreInboundPorts} {
			if text != "" {
				t.Errorf("a value that is set to empty is read as %q", text)
			}
		}
	}
}

func TestDefaultsAgreeWithTheInjector(t *testing.T) {
	v := install.Defaults()
	want := inject.Defaults()
	got := v.ProxyDefaults(install.Target{Version: want.Version})
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("values.yaml differs from inject.Defaults (-inject +install):\n%s", diff)
	}
}

func TestNamespaceIsTheOneAskedFor(t *testing.T) {
	out, err := Render(install.Defaults(), install.Target{Namespace: "mesh-system", Version: "v1"})
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "namespace: tulle\n") || strings.Contains(line, "control-plane-ns: tulle\n") {
			t.Errorf("%q names the default namespace", line)
		}
	}
	decodeStrict(t, out)
}
