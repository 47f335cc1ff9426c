package status

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/controller/compile"
	"github.com/tulle-mesh/tulle/controller/kube"
	"github.com/tulle-mesh/tulle/controller/model"
)

var (
	before = metav1.NewTime(time.Unix(1000, 0))
	after  = metav1.NewTime(time.Unix(2000, 0))
)

// reasons are those of the conditions that the tests deal with.
var reasons = map[metav1.ConditionStatus]string{metav1.ConditionTrue: "Accepted", metav1.ConditionFalse: "Because"}

func rejected(message string) *model.Result {
	return &model.Result{Findings: compile.Findings{{Message: message, Severity: compile.Invalid, Reason: "Because"}}}
}

func condition(kind string, truth metav1.ConditionStatus, message string, generation int64,
	at metav1.Time) metav1.Condition {
	return metav1.Condition{
		Type: kind, Status: truth, Reason: reasons[truth], Message: message, ObservedGeneration: generation,
		LastTransitionTime: at,
	}
}

func parent(name string, who gatewayv1.GatewayController, conditions ...metav1.Condition) gatewayv1.RouteParentStatus {
	return gatewayv1.RouteParentStatus{ParentRef: ref(name), ControllerName: who, Conditions: conditions}
}

func ref(name string) gatewayv1.ParentReference {
	return gatewayv1.ParentReference{Name: gatewayv1.ObjectName(name)}
}

func TestMergeParents(t *testing.T) {
	const other = "example.com/gateway"
	accepted := model.ParentOutcome{Ref: ref("web")}
	for name, test := range map[string]struct {
		was     []gatewayv1.RouteParentStatus
		want    []model.ParentOutcome
		now     []gatewayv1.RouteParentStatus
		changed bool
	}{
		"what others said stays": {
			was:  []gatewayv1.RouteParentStatus{parent("edge", other, condition("Accepted", "False", "no", 1, before))},
			want: []model.ParentOutcome{accepted},
			now: []gatewayv1.RouteParentStatus{
				parent("edge", other, condition("Accepted", "False", "no", 1, before)),
				parent("web", ControllerName, condition("Accepted", "True", "", 2, after)),
			},
			changed: true,
		},
		"the same is no change": {
			was:  []gatewayv1.RouteParentStatus{parent("web", ControllerName, condition("Accepted", "True", "", 2, before))},
			want: []model.ParentOutcome{accepted},
			now:  []gatewayv1.RouteParentStatus{parent("web", ControllerName, condition("Accepted", "True", "", 2, before))},
		},
		"a new generation keeps the time of the transition": {
			was:     []gatewayv1.RouteParentStatus{parent("web", ControllerName, condition("Accepted", "True", "", 1, before))},
			want:    []model.ParentOutcome{accepted},
			now:     []gatewayv1.RouteParentStatus{parent("web", ControllerName, condition("Accepted", "True", "", 2, before))},
			changed: true,
		},
		"a new status has a new time": {
			was:     []gatewayv1.RouteParentStatus{parent("web", ControllerName, condition("Accepted", "False", "", 2, before))},
			want:    []model.ParentOutcome{accepted},
			now:     []gatewayv1.RouteParentStatus{parent("web", ControllerName, condition("Accepted", "True", "", 2, after))},
			changed: true,
		},
		"a parent that is not ours any more goes": {
			was: []gatewayv1.RouteParentStatus{
				parent("web", ControllerName, condition("Accepted", "True", "", 1, before)),
				parent("web", other, condition("Accepted", "True", "", 1, before)),
			},
			now:     []gatewayv1.RouteParentStatus{parent("web", other, condition("Accepted", "True", "", 1, before))},
			changed: true,
		},
		"nothing of ours, then and now, is no change": {
			was: []gatewayv1.RouteParentStatus{parent("web", other)},
			now: []gatewayv1.RouteParentStatus{parent("web", other)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := merge(kube.Status{Parents: test.was}, model.Outcome{Generation: 2, Parents: test.want}, after)
			if diff := cmp.Diff(test.now, got.Parents); diff != "" || got.changed != test.changed {
				t.Errorf("changed %t, want %t; parents (-want +got):\n%s", got.changed, test.changed, diff)
			}
		})
	}
}

func TestMergeLeavesOutParentsBeyondTheSchemasLimit(t *testing.T) {
	var want model.Outcome
	for i := range 40 {
		want.Parents = append(want.Parents, model.ParentOutcome{Ref: ref(fmt.Sprint("p", i))})
	}
	was := kube.Status{Parents: []gatewayv1.RouteParentStatus{parent("edge", "example.com/gateway")}}
	got := merge(was, want, after)
	if len(got.Parents) != maxParents || got.Parents[0].ParentRef.Name != "edge" || !got.cut {
		t.Errorf("%d parents, cut %t; want %d with the other controller's first, cut", len(got.Parents), got.cut, maxParents)
	}
	if again := merge(got.Status, want, after); again.changed {
		t.Error("the same again is a change")
	}
}

func TestMergeConditionsKeepsTypesOfOthers(t *testing.T) {
	was := kube.Status{Conditions: []metav1.Condition{
		condition("Audited", "True", "by somebody", 1, before), condition("Accepted", "False", "old", 1, before),
	}}
	long := strings.Repeat("x", maxMessageBytes+1)
	want := model.Outcome{Generation: 3, Result: rejected(long)}
	got := merge(was, want, after)
	now := []metav1.Condition{
		condition("Audited", "True", "by somebody", 1, before), condition("Accepted", "False", long[:maxMessageBytes], 3,
			before),
	}
	if diff := cmp.Diff(now, got.Conditions); diff != "" || !got.changed {
		t.Errorf("changed %t, conditions (-want +got):\n%s", got.changed, diff)
	}
	if again := merge(got.Status, want, after); again.changed {
		t.Error("the same again is a change")
	}
}

// TestALongMessageIsCutBetweenCharacters cuts a message within a character. In JSON the rest of it would become U+FFFD,
// so the status that was read back would never be the one that was written.
func TestALongMessageIsCutBetweenCharacters(t *testing.T) {
	for _, character := range []string{"é", "…", "😀"} {
		long := "x" + strings.Repeat(character, maxMessageBytes)
		want := model.Outcome{Generation: 2, Result: rejected(long)}
		written, err := json.Marshal(merge(kube.Status{}, want, before).Conditions)
		if err != nil {
			t.Fatal(err)
		}
		var read kube.Status
		if err := json.Unmarshal(written, &read.Conditions); err != nil {
			t.Fatal(err)
		}
		message := read.Conditions[0].Message
		if !strings.HasPrefix(long, message) || len(message) <= maxMessageBytes-len(character) {
			t.Errorf("%s: got a message of %d bytes that ends in %q", character, len(message), message[len(message)-4:])
		}
		if merge(read, want, after).changed {
			t.Errorf("%s: the same again is a change", character)
		}
	}
}

// An object that was mended must not say for ever what was wrong with it.
func TestMergeConditionsForgetsWhatIsNoMore(t *testing.T) {
	mended := condition("Accepted", "True", "", 2, before)
	for _, gone := range []string{"PartiallyInvalid", "ResolvedRefs"} {
		was := kube.Status{Conditions: []metav1.Condition{condition("Accepted", "True", "", 1, before),
			condition(gone, "True", "old", 1, before)}}
		want := model.Outcome{Generation: 2, Result: &model.Result{}}
		got := merge(was, want, after)
		if diff := cmp.Diff([]metav1.Condition{mended}, got.Conditions); diff != "" || !got.changed {
			t.Errorf("%s: changed %t, conditions (-want +got):\n%s", gone, got.changed, diff)
		}
	}
}
