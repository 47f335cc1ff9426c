package chart

import (
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/fake"
)

// cluster is what templates find with lookup.
type cluster struct{ *fake.FakeDynamicClient }

func (c cluster) GetClientFor(apiVersion, kind string) (dynamic.NamespaceableResourceInterface, bool, error) {
	gv, err := schema.ParseGroupVersion(apiVersion)
	return c.Resource(gv.WithResource(strings.ToLower(kind) + "s")), false, err
}

func object(apiVersion, kind, name string, labels, annotations map[string]any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{"apiVersion": apiVersion, "kind": kind,
		"metadata": map[string]any{"name": name, "labels": labels, "annotations": annotations}}}
}

// TestWhatTheClusterHas installs on clusters with a namespace and with a Gateway API. They decide about the notes and
// about a refusal, and never about an object.
func TestWhatTheClusterHas(t *testing.T) {
	const ask, gateway = "kubectl label namespace tulle", "httproutes.gateway.networking.k8s.io"
	namespace := func(labels map[string]any) *unstructured.Unstructured {
		return object("v1", "Namespace", "tulle", labels, nil)
	}
	routes := func(annotations map[string]any) *unstructured.Unstructured {
		return object("apiextensions.k8s.io/v1", "CustomResourceDefinition", gateway, nil, annotations)
	}
	bare := render(t, nil, nil)
	for name, test := range map[string]struct {
		object runtime.Object
		values map[string]any
		asks   bool   // the notes ask for the labels
		err    string // "" for none
	}{
		"nothing":                    {asks: true},
		"a namespace without one":    {object: namespace(nil), asks: true},
		"a namespace with the label": {object: namespace(map[string]any{"config.linkerd.io/admission-webhooks": "disabled"})},
		"our Gateway API":            {object: routes(map[string]any{"linkerd.io/created-by": "tulle/cli v1"}), asks: true},
		"somebody's Gateway API": {object: routes(map[string]any{"gateway.networking.k8s.io/bundle-version": "v1.2.1"}),
			err: "the cluster has a Gateway API of its own (v1.2.1): set installGatewayAPI=false"},
		"a Gateway API without a version": {object: routes(nil), err: "of an unknown version"},
		"somebody's Gateway API, left out": {object: routes(nil), asks: true,
			values: map[string]any{"installGatewayAPI": false}},
	} {
		t.Run(name, func(t *testing.T) {
			got := render(t, test.object, test.values)
			if err := got["error"]; test.err == "" && err != "" || !strings.Contains(err, test.err) {
				t.Fatalf("error %q, want %q", err, test.err)
			} else if err != "" {
				return
			}
			if asks := strings.Contains(got["tulle/templates/NOTES.txt"], ask); asks != test.asks {
				t.Errorf("the notes ask for labels: %t, want %t", asks, test.asks)
			}
			for file, text := range got {
				if !strings.HasSuffix(file, "NOTES.txt") && test.values == nil && text != bare[file] {
					t.Errorf("%s depends on what the cluster has", file)
				}
			}
		})
	}
}

// render returns the rendered files of an install by name, or the error.
func render(t *testing.T, has runtime.Object, values map[string]any) map[string]string {
	t.Helper()
	c, err := loader.LoadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	all, err := util.ToRenderValues(c, values, common.ReleaseOptions{Name: "tulle", Namespace: "tulle", IsInstall: true},
		nil)
	if err != nil {
		t.Fatal(err)
	}
	client := fake.NewSimpleDynamicClient(runtime.NewScheme())
	if has != nil {
		client = fake.NewSimpleDynamicClient(runtime.NewScheme(), has)
	}
	out, err := engine.RenderWithClientProvider(c, all, cluster{client})
	if err != nil {
		return map[string]string{"error": err.Error()}
	}
	return out
}
