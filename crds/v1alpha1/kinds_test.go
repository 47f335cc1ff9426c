package v1alpha1

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"
)

// Every kind can be read from the objects of a dynamic client, and an unknown field is found.
func TestKindsAreReadFromUnstructured(t *testing.T) {
	tests := map[string]struct {
		manifest  string
		into      runtime.Object
		got       func(runtime.Object) any
		want      any
		wantError string
	}{
		"a whole number is a ratio": {
			manifest: `{spec: {retryBudget: {retryRatio: 1, minRetriesPerSecond: 10, ttl: 10s}}}`,
			into:     &ServiceProfile{},
			got:      func(o runtime.Object) any { return *o.(*ServiceProfile).Spec.RetryBudget },
			want:     RetryBudget{RetryRatio: 1, MinRetriesPerSecond: 10, TTL: "10s"},
		},
		"conditions nest": {
			manifest: `{spec: {routes: [{name: r, condition: {any: [{method: GET}, {not: {pathRegex: /x}}]}}]}}`,
			into:     &ServiceProfile{},
			got:      func(o runtime.Object) any { return o.(*ServiceProfile).Spec.Routes[0].Condition },
			want:     &RequestMatch{Any: []*RequestMatch{{Method: "GET"}, {Not: &RequestMatch{PathRegex: "/x"}}}},
		},
		"a weight is a quantity, written as a number or as text": {
			manifest: `{spec: {dstOverrides: [{authority: a, weight: 900m}, {authority: b, weight: 2}]}}`,
			into:     &ServiceProfile{},
			got: func(o runtime.Object) any {
				d := o.(*ServiceProfile).Spec.DstOverrides
				return []int64{d[0].Weight.MilliValue(), d[1].Weight.MilliValue()}
			},
			want: []int64{900, 2000},
		},
		"a port is a number or a name": {
			manifest: `{spec: {podSelector: {}, port: http}}`,
			into:     &Server{},
			got:      func(o runtime.Object) any { return o.(*Server).Spec.Port },
			want:     intstr.FromString("http"),
		},
		"a rate is a whole number or a fraction": {
			manifest: `{spec: {targetRef: {kind: Server, name: s}, total: {requestsPerSecond: 100}, identity: {requestsPerSecond: 1.67}}}`,
			into:     &HTTPLocalRateLimitPolicy{},
			got: func(o runtime.Object) any {
				spec := o.(*HTTPLocalRateLimitPolicy).Spec
				return []float64{spec.Total.RequestsPerSecond, spec.Identity.RequestsPerSecond}
			},
			want: []float64{100, 1.67},
		},
		"an HTTPRoute is read into the Gateway API's types": {
			manifest: `{spec: {parentRefs: [{group: core, kind: Service, name: web, port: 80}], rules: [{timeouts: {backendRequest: 1s}}]}}`,
			into:     &HTTPRoute{},
			got:      func(o runtime.Object) any { return string(*o.(*HTTPRoute).Spec.ParentRefs[0].Group) },
			want:     "core",
		},
		"an unknown field is named by its path": {
			manifest:  `{spec: {podSelector: {}, port: 80, clientAuth: {mode: REQUIRED}}}`,
			into:      &Server{},
			wantError: `strict decoding error: unknown field "spec.clientAuth"`,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var u map[string]any
			if err := yaml.Unmarshal([]byte(test.manifest), &u); err != nil {
				t.Fatal(err)
			}
			err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(u, test.into, true)
			if test.wantError != "" {
				if err == nil || err.Error() != test.wantError {
					t.Errorf("error %v, want %s", err, test.wantError)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, test.got(test.into.DeepCopyObject())); diff != "" {
				t.Errorf("read (-want +got):\n%s", diff)
			}
		})
	}
}

func TestVersionToReadIsTheNewest(t *testing.T) {
	got := map[string]string{}
	for _, k := range Kinds() {
		got[k.Name] = k.Group + "/" + k.Versions[len(k.Versions)-1] + " " + k.Plural
	}
	want := map[string]string{
		"ServiceProfile":           "linkerd.io/v1alpha2 serviceprofiles",
		"AuthorizationPolicy":      "policy.linkerd.io/v1alpha1 authorizationpolicies",
		"HTTPLocalRateLimitPolicy": "policy.linkerd.io/v1alpha1 httplocalratelimitpolicies",
		"HTTPRoute":                "policy.linkerd.io/v1beta3 httproutes",
		"MeshTLSAuthentication":    "policy.linkerd.io/v1alpha1 meshtlsauthentications",
		"NetworkAuthentication":    "policy.linkerd.io/v1alpha1 networkauthentications",
		"Server":                   "policy.linkerd.io/v1beta3 servers",
		"ServerAuthorization":      "policy.linkerd.io/v1beta1 serverauthorizations",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("kinds (-want +got):\n%s", diff)
	}
}
