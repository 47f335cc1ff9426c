package installation

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/install"
	"github.com/tulle-mesh/tulle/install/manifests"
)

func TestValues(t *testing.T) {
	values, err := Values(&corev1.ConfigMap{Data: map[string]string{"install": "clusterDomain: example.org\n"}})
	if err != nil || values.ClusterDomain != "example.org" ||
		values.ControllerReplicas != install.Defaults().ControllerReplicas {
		t.Errorf("error %v, values %+v; want the domain and the defaults", err, values)
	}
	if _, err := Values(&corev1.ConfigMap{Data: map[string]string{"install": "["}}); err == nil ||
		!strings.Contains(err.Error(), ConfigMap) {
		t.Errorf("error %v, want one that names the ConfigMap", err)
	}
}

// TestMissing has nothing of an installation but one object.
func TestMissing(t *testing.T) {
	cl := &cluster.Client{Interface: fake.NewClientset(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "tulle"}})}
	stream, err := manifests.Render(install.Defaults(), install.Target{Namespace: "tulle", Version: "v1"})
	if err != nil {
		t.Fatal(err)
	}
	missing, err := Missing(t.Context(), cl, stream)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(missing, " ")
	if strings.Contains(text, "Namespace/tulle") || !strings.Contains(text, "ConfigMap/tulle-config") {
		t.Errorf("missing %s; want the ConfigMap and not the Namespace", text)
	}
}

func TestWrite(t *testing.T) {
	objects := []ObjectName{{"v1", "Namespace", NameOnly{Name: "tulle"}},
		{"v1", "ConfigMap", NameOnly{Name: "a", Namespace: "b"}}}
	for format, want := range map[string]string{
		"yaml": "---\napiVersion: v1\nkind: Namespace\nmetadata:\n  name: tulle\n" +
			"---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n  namespace: b\n",
		"json": `{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"tulle"}}` + "\n" +
			`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a","namespace":"b"}}` + "\n",
	} {
		var out bytes.Buffer
		if err := Write(&out, objects, format); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, out.String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", format, diff)
		}
	}
}
