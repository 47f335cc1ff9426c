package main

import (
	"strings"
	"testing"
)

// TestNamesAreStrings covers where Kubernetes wants a string and YAML 1.1 (https://yaml.org/type/bool.html) reads
// something else. kubectl refuses these manifests too.
func TestNamesAreStrings(t *testing.T) {
	for name, test := range map[string]struct{ manifest, want string }{
		"name: n": {"kind: Pod\nmetadata: {name: n}\n",
			`document 1, line 2: metadata.name: n is the boolean false, want a string: write "n"`},
		"name: y":   {"kind: Pod\nmetadata: {name: y}\n", "metadata.name: y is the boolean true"},
		"name: yes": {"kind: Pod\nmetadata: {name: yes}\n", "metadata.name: yes is the boolean true"},
		"name: No":  {"kind: Pod\nmetadata: {name: No}\n", "metadata.name: No is the boolean false"},
		"name: on": {"kind: ConfigMap\nmetadata:\n  name: on\n",
			"line 3: metadata.name: on is the boolean true"},
		"name: off":  {"kind: ConfigMap\nmetadata: {name: off}\n", "metadata.name: off is the boolean false"},
		"name: true": {"kind: Service\nmetadata: {name: true}\n", "metadata.name: true is the boolean true"},
		"name: 123":  {"kind: Service\nmetadata: {name: 123}\n", "metadata.name: 123 is a number"},
		"name: 1e3": {"kind: Service\nmetadata: {name: 1e3}\n",
			`metadata.name: 1e3 is a number, want a string: write "1e3"`},
		"name: 0x1f": {"kind: Service\nmetadata: {name: 0x1f}\n", `write "0x1f"`},
		"name of JSON": {`{"kind":"Pod","metadata":{"name":true}}`,
			"document 1, line 1: metadata.name: true is the boolean true"},
		"name: {}": {"kind: Pod\nmetadata: {name: {}}\n", "metadata.name: is an object, want a string"},
		"name: []": {"kind: Pod\nmetadata: {name: []}\n", "metadata.name: is a list, want a string"},
		"generateName": {"kind: Job\nmetadata: {generateName: no}\n",
			"metadata.generateName: no is the boolean false"},
		"namespace": {"kind: Pod\nmetadata: {name: a, namespace: off}\n",
			"metadata.namespace: off is the boolean false"},
		"kind":       {"kind: yes\nmetadata: {name: a}\n", "kind: yes is the boolean true"},
		"apiVersion": {"apiVersion: 1\nkind: Pod\nmetadata: {name: a}\n", "apiVersion: 1 is a number"},
		"a label": {"kind: Namespace\nmetadata: {name: a, labels: {x: on}}\n",
			"metadata.labels.x: on is the boolean true"},
		"an annotation": {"kind: Namespace\nmetadata:\n  name: a\n  annotations:\n    linkerd.io/inject: yes\n",
			"line 5: metadata.annotations.linkerd.io/inject: yes is the boolean true"},
		"a number as annotation": {"kind: Pod\nmetadata: {name: a, annotations: {config.linkerd.io/skip-outbound-ports: " +
			"25}}\n", `metadata.annotations.config.linkerd.io/skip-outbound-ports: 25 is a number, want a string: write "25"`},
		"a label of a template": {"kind: Deployment\nmetadata: {name: a}\nspec: {template: {metadata: {labels: " +
			"{version: 1.0}}}}\n", "spec.template.metadata.labels.version: 1.0 is a number"},
		"an annotation of a CronJob": {"kind: CronJob\nmetadata: {name: a}\nspec: {jobTemplate: {spec: {template: " +
			"{metadata: {annotations: {x: off}}}}}}\n", "spec.jobTemplate.spec.template.metadata.annotations.x: off is"},
		"a selector": {"kind: Deployment\nmetadata: {name: a}\nspec: {selector: {matchLabels: {a: y}}, " +
			"template: {}}\n", "spec.selector.matchLabels.a: y is the boolean true"},
		"a Service's selector": {"kind: Service\nmetadata: {name: a}\nspec: {selector: {a: 1}}\n",
			"spec.selector.a: 1 is a number"},
		"in a List": {"kind: List\nitems:\n- kind: Pod\n  metadata: {name: a}\n- kind: Pod\n  " +
			"metadata:\n    name: no\n", "document 1, line 7: items[1].metadata.name: no is the boolean false"},
		"behind an alias": {"kind: Pod\nmetadata: &m {name: no}\nother: *m\n", "line 2: metadata.name: no"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, command := range []string{"inject", "uninject", "convert"} {
				r := runCLI(t, noCluster, test.manifest, command, "-")
				if r.code != 1 || r.out != "" || !strings.Contains(r.err, test.want) {
					t.Errorf("%s: exit code %d, stdout %q, stderr %q; want 1, nothing, and %q", command, r.code, r.out, r.err,
						test.want)
				}
			}
			r := runCLI(t, noCluster, test.manifest, "analyze", "--ignore-cluster", "-f", "-")
			if r.code != 1 || !strings.Contains(r.err, test.want) {
				t.Errorf("analyze: exit code %d, stderr %q; want 1 and %q", r.code, r.err, test.want)
			}
		})
	}
}

// TestQuotedNamesPass covers the same words as strings, and the same fields of what is not metadata.
func TestQuotedNamesPass(t *testing.T) {
	for _, manifest := range []string{
		"kind: Pod\nmetadata: {name: 'n', labels: {a: \"yes\", b: '1'}, annotations: {c: !!str on, d: null}}\n",
		"kind: Pod\nmetadata: {name: nn, namespace: yesterday}\n",
		"kind: ConfigMap\nmetadata: {name: a}\nspec: {selector: {x: true}, metadata: {name: true}}\n",
	} {
		r := runCLI(t, noCluster, manifest, "inject", "-")
		if r.code != 0 {
			t.Errorf("%q: exit code %d, stderr %q", manifest, r.code, r.err)
		}
		again := runCLI(t, noCluster, r.out, "inject", "-")
		if again.code != 0 || again.out != r.out {
			t.Errorf("%q: the output is read as %q, stderr %q", r.out, again.out, again.err)
		}
	}
}
