package compile

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestMisspelledAnnotationIsAFinding(t *testing.T) {
	const none = ": there is no such annotation: want "
	for _, tt := range []struct {
		key     string
		service bool
		want    string
	}{
		{"balancer.linkerd.io/failure-accural", true, none + "balancer.linkerd.io/failure-accrual"},
		{"balancer.linkerd.io/failure-accrual-consecutive-max-failure", true,
			none + "balancer.linkerd.io/failure-accrual-consecutive-max-failures"},
		{"balancer.linkerd.io/failure-accrual-success-rate-window", true,
			none + "balancer.alpha.linkerd.io/failure-accrual-success-rate-window"},
		{"balancer.alpha.linkerd.io/failure-accrual", true, none + "balancer.linkerd.io/failure-accrual"},
		{"balancer.alpha.linkerd.io/colour", true,
			none + "one of balancer.alpha.linkerd.io/failure-accrual-success-rate-min-requests, " +
				"balancer.alpha.linkerd.io/failure-accrual-success-rate-threshold, " +
				"balancer.alpha.linkerd.io/failure-accrual-success-rate-window"},
		{"balancer.linkerd.io/failure-accural", false, none + "balancer.linkerd.io/failure-accrual on the Service"},
		{"balancer.linkerd.io/failure-accrual", false, ": it has no effect on a route: it belongs to the Service"},
		{"retry.linkerd.io/htpp", true, none + "retry.linkerd.io/http"},
		{"timeout.linkerd.io/requests", false, none + "timeout.linkerd.io/request"},
		{"retry.linkerd.io/request", true, none + "timeout.linkerd.io/request"},
		{"fault.tulle.dev/abort-precent", true, none + "fault.tulle.dev/abort-percent"},
		{"timeout.linkerd.io/colour", true,
			none + "one of timeout.linkerd.io/idle, timeout.linkerd.io/request, timeout.linkerd.io/response"},
	} {
		t.Run(fmt.Sprintf("%s on a Service %t", tt.key, tt.service), func(t *testing.T) {
			o := metav1.ObjectMeta{Annotations: map[string]string{tt.key: "consecutive"}}
			want := "annotation " + tt.key + tt.want
			if strings.Contains(tt.want, none) {
				want += "; it has no effect"
			}
			var got []string
			for _, f := range CheckAnnotations(&o, tt.service, time.Now()) {
				if f.Reason == ReasonUnknownAnnotation {
					got = append(got, f.String())
				}
			}
			if diff := cmp.Diff([]string{want}, got); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}

// Every annotation that is read has a known prefix, and accrual reads those that it says.
func TestAnnotationsThatAreReadAreKnown(t *testing.T) {
	o := metav1.ObjectMeta{Annotations: map[string]string{AccrualAnnotation: accrualUnified}}
	r := newAnnotationReader(&o, nil)
	r.accrual()
	want := slices.Sorted(slices.Values(accrualAnnotations()))
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(r.read))); diff != "" {
		t.Errorf("annotations that accrual reads (-want +got):\n%s", diff)
	}
}
