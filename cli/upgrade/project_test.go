package upgrade

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// difference returns what compare finds between an object of the cluster and a manifest.
func difference(t *testing.T, live, last, wanted string) string {
	t.Helper()
	decode := func(text string) (tree map[string]any) {
		if err := yaml.Unmarshal([]byte(text), &tree); err != nil {
			t.Fatal(err)
		}
		return tree
	}
	tree := decode(wanted)
	before := project(decode(live), shapeOf(last, tree))
	diff, err := unified(normalize("", before), normalize("", tree))
	if err != nil {
		t.Fatal(err)
	}
	return diff
}

func TestDifferenceIsOfOurFields(t *testing.T) {
	const manifest = `{spec: {replicas: 1, containers: [{name: a, image: "a:1", resources: {limits: {memory: 1024Mi}}}],
		tolerations: []}}`
	for name, test := range map[string]struct{ live, last, wanted string }{
		"defaults and other containers": {
			`{spec: {replicas: 1, dnsPolicy: Default, containers: [{name: injected}, {name: a, image: "a:1", env: [],
				resources: {limits: {memory: 1Gi}}}]}, status: {}}`, "", manifest},
		"the order of what has names": {`{env: [{name: b, value: "2"}, {name: a, value: "1"}]}`, "",
			`{env: [{name: a, value: "1"}, {name: b, value: "2"}]}`},
		"an empty field":                     {`{a: 1}`, "", `{a: 1, b: {}, c: [], d: ""}`},
		"a field that kubectl did not apply": {`{a: 1, b: 2}`, `{"a": 1}`, `{a: 1}`},
	} {
		if diff := difference(t, test.live, test.last, test.wanted); diff != "" {
			t.Errorf("%s: want no difference, got\n%s", name, diff)
		}
	}
	for name, test := range map[string]struct{ live, last, wanted, want string }{
		"a value":                      {`{a: 1}`, "", `{a: 2}`, "-a: 1\n+a: 2\n"},
		"a new field":                  {`{a: 1}`, "", `{a: 1, b: 2}`, " a: 1\n+b: 2\n"},
		"a field that kubectl applied": {`{a: 1, b: 2}`, `{"a": 1, "b": 2}`, `{a: 1}`, " a: 1\n-b: 2\n"},
		"an element of a list":         {`{a: [x, z]}`, "", `{a: [x]}`, " a:\n - x\n-- z\n"},
		"a container that kubectl applied": {`{c: [{name: a}, {name: b}]}`, `{"c": [{"name": "b"}]}`, `{c: [{name: a}]}`,
			"-- name: b\n"},
		"a number of another type":          {`{a: "1"}`, "", `{a: 1}`, "-a: \"1\"\n+a: 1\n"},
		"an element of a list without keys": {`{a: [{b: 1}]}`, "", `{a: [{b: 2}]}`, "-- b: 1\n+- b: 2\n"},
	} {
		const head = "--- in the cluster\n+++ after the upgrade\n"
		diff := difference(t, test.live, test.last, test.wanted)
		if len(diff) < len(head) || !hasSuffix(diff, test.want) {
			t.Errorf("%s: got\n%s\nwant it to end with\n%s", name, diff, test.want)
		}
	}
}

func hasSuffix(s, suffix string) bool {
	return len(s) >= len(suffix) && s[len(s)-len(suffix):] == suffix
}

func TestHideData(t *testing.T) {
	before := map[string]any{"data": map[string]any{"same": "YQ==", "other": "YWI=", "gone": "YWJj"}}
	after := map[string]any{"data": map[string]any{"same": "YQ==", "other": "YWM=", "more": "YWJj"}}
	hideData(before, after)
	diff, err := unified(before, after)
	if err != nil {
		t.Fatal(err)
	}
	const want = `--- in the cluster
+++ after the upgrade
@@ -1,4 +1,4 @@
 data:
-  gone: (not shown, 3 bytes)
-  other: (not shown, 2 bytes), before
+  more: (not shown, 3 bytes)
+  other: (not shown, 2 bytes), after
   same: (not shown, 1 bytes)
`
	if diff != want {
		t.Errorf("got\n%s\nwant\n%s", diff, want)
	}
}

// TestSinceChange asks for changes of the data alone: annotations do not travel to pods.
func TestSinceChange(t *testing.T) {
	ago := func(d time.Duration) *metav1.Time { return &metav1.Time{Time: time.Now().Add(-d)} }
	o := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: *ago(time.Hour),
		ManagedFields: []metav1.ManagedFieldsEntry{
			{Time: ago(time.Minute), FieldsV1: metav1.NewFieldsV1(`{"f:data":{"f:ca-bundle.crt":{}}}`)},
			{Time: ago(time.Second), FieldsV1: metav1.NewFieldsV1(`{"f:metadata":{}}`)},
		}}}
	if d := sinceChange(o); d < time.Minute || d > 2*time.Minute {
		t.Errorf("got %v, want a minute", d)
	}
}
