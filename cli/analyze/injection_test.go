package analyze

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNamespaceThatMeansMandatoryInjection(t *testing.T) {
	for _, tt := range []struct{ name, metadata, code, want string }{
		{"required", "labels: {tulle.dev/injection: required}", "", ""},
		{"unknown value", "labels: {tulle.dev/injection: requierd}", "LabelValue",
			`label tulle.dev/injection is "requierd": want required; injection is not mandatory in this namespace`},
		{"misspelled key", "labels: {tulle.dev/injecton: required}", "LabelUnknown",
			"label tulle.dev/injecton is unknown and has no effect; did you mean tulle.dev/injection=required?"},
		{"key cut short", "labels: {tulle.dev/inject: required}", "LabelUnknown",
			"label tulle.dev/inject is unknown and has no effect; did you mean tulle.dev/injection=required?"},
		{"misspelled prefix", "labels: {tule.dev/injection: required}", "LabelUnknown",
			"label tule.dev/injection is unknown and has no effect; did you mean tulle.dev/injection=required?"},
		{"annotation", "annotations: {tulle.dev/injection: required}", "LabelPlace",
			"annotation tulle.dev/injection has no effect: write label tulle.dev/injection=required at metadata.labels"},
		{"another label", "labels: {example.org/injection: required}", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := worldOf(t, "apiVersion: v1\nkind: Namespace\nmetadata: {name: bank, "+tt.metadata+"}\n")
			codes := []string{"LabelValue", "LabelUnknown", "LabelPlace"}
			var want, got []Finding
			if tt.code != "" {
				want = []Finding{{Error, tt.code, "bank", "Namespace/bank", tt.want}}
			}
			for _, f := range w.Analyze() {
				if slices.Contains(codes, f.Code) {
					got = append(got, f)
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}
