package rights

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/fake"
	kubetesting "k8s.io/client-go/testing"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/viz/metrics"
	"github.com/tulle-mesh/tulle/viz/resource"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// api is an API server that knows what one viewer may see.
type api struct {
	mu    sync.Mutex // guards the fields below
	may   []string   // "" is every namespace
	err   error
	asked int
}

func (a *api) set(may ...string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.may = may
}

// rights returns the viewer's, in a cluster with the namespaces pay, shop and web.
func (a *api) rights() *Rights {
	client := fake.NewClientset()
	client.PrependReactor("create", "selfsubjectaccessreviews", func(action kubetesting.Action) (bool, runtime.Object,
		error) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.asked++
		review := action.(kubetesting.CreateAction).GetObject().(*authorizationv1.SelfSubjectAccessReview).DeepCopy()
		of := review.Spec.ResourceAttributes
		review.Status.Allowed = of.Verb == "list" && of.Resource == "pods" && of.Group == "" && of.Name == "" &&
			slices.Contains(a.may, of.Namespace)
		return true, review, a.err
	})
	return New(&cluster.Client{Interface: client}, func(context.Context) ([]metav1.PartialObjectMetadata, error) {
		var out []metav1.PartialObjectMetadata
		for _, name := range []string{"web", "shop", "pay"} {
			out = append(out, metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: name,
				Labels: map[string]string{"name": name}, Annotations: map[string]string{mesh.InjectAnnotation: "enabled"}}})
		}
		return out, nil
	})
}

// TestDecisionsAreAskedOnce: all who ask at a time share one decision, which does not hold for long.
func TestDecisionsAreAskedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &api{may: []string{"shop"}}
		r := a.rights()
		want := func(shop, pay bool, asked int) {
			t.Helper()
			var all sync.WaitGroup
			for range 10 {
				all.Go(func() {
					inShop, err := r.MaySee(t.Context(), "shop")
					inPay, other := r.MaySee(t.Context(), "pay")
					if inShop != shop || inPay != pay || err != nil || other != nil {
						t.Errorf("shop %v, pay %v, errors %v and %v", inShop, inPay, err, other)
					}
				})
			}
			all.Wait()
			if a.asked != asked {
				t.Errorf("asked %d times, want %d", a.asked, asked)
			}
		}
		want(true, false, 2)
		a.set()
		want(true, false, 2)
		time.Sleep(reviewTTL)
		want(false, false, 4)
	})
}

func TestErrorsOfReviewsAreNotKept(t *testing.T) {
	a := &api{may: []string{"shop"}, err: errors.New("away")}
	r := a.rights()
	if may, err := r.MaySee(t.Context(), "shop"); may || err == nil || !strings.Contains(err.Error(), "in shop: away") {
		t.Errorf("may %v, error %v", may, err)
	}
	a.err = nil
	if may, err := r.MaySee(t.Context(), "shop"); !may || err != nil {
		t.Errorf("after an error: may %v, error %v", may, err)
	}
}

// TestQuestionsEndWithTheirViewer: nothing is asked for a viewer who left, and no more after an error. A server that
// ends waits for what is asked.
func TestQuestionsEndWithTheirViewer(t *testing.T) {
	many := make([]string, 1000)
	for i := range many {
		many[i] = fmt.Sprintf("ns-%d", i)
	}
	a := &api{}
	gone, leave := context.WithCancel(t.Context())
	leave()
	if _, err := a.rights().Filter(gone, many); !errors.Is(err, context.Canceled) || a.asked != 0 {
		t.Errorf("for a viewer who left: %d questions, error %v", a.asked, err)
	}
	a.err = errors.New("away")
	if _, err := a.rights().Filter(t.Context(), many); !errors.Is(err, a.err) || a.asked > 10*maxConcurrentReviews {
		t.Errorf("after an error: %d questions, error %v", a.asked, err)
	}
}

// source has the same answer for everybody.
type source struct {
	answer metrics.Answer
	err    error
	asked  []metrics.Query
}

func (s *source) Ask(_ context.Context, _ time.Duration, queries []metrics.Query) (metrics.Answer, error) {
	s.asked = queries
	return s.answer, s.err
}

func sample(value float64, labels ...string) metrics.Sample {
	s := metrics.Sample{Labels: map[string]string{}, Value: value}
	for i := 0; i < len(labels); i += 2 {
		s.Labels[labels[i]] = labels[i+1]
	}
	return s
}

// TestNumbersOfOthersAreLeftOut: a viewer sees the part of a sum that proxies in visible namespaces counted.
func TestNumbersOfOthersAreLeftOut(t *testing.T) {
	queries := []metrics.Query{
		{Metric: "a", By: []string{"namespace"}},
		{Metric: "b", Match: []metrics.Match{metrics.Is("namespace", "shop")}},
		{Metric: "c", Match: []metrics.Match{metrics.Is("namespace", "pay")}},
		{Metric: "d"},
		{Metric: "e", Match: []metrics.Match{metrics.Not("namespace", "web")}},
		{Metric: "f", By: []string{"dst"}, Match: []metrics.Match{metrics.Is("dst_namespace", "shop")}},
		{Metric: "g", By: []string{"namespace"}},
	}
	shop, pay := sample(1, "namespace", "shop"), sample(2, "namespace", "pay")
	all := metrics.Answer{Window: time.Minute, Notes: []string{"pay/api-1 has no metrics"}, Samples: [][]metrics.Sample{
		{shop, pay}, {sample(3)}, {sample(4)},
		{sample(5, "namespace", "shop"), sample(6, "namespace", "pay"), sample(7)},
		{sample(8, "namespace", "pay")},
		{sample(9, "dst", "x", "namespace", "shop"), sample(10, "dst", "x", "namespace", "pay"),
			sample(11, "dst", "y", "namespace", "pay"), sample(12, "namespace", "shop")},
		{sample(13), sample(14, "namespace", "")},
	}}
	for name, c := range map[string]struct {
		may  []string
		want [][]metrics.Sample
	}{
		"every namespace": {[]string{""}, [][]metrics.Sample{{shop, pay}, {sample(3)}, {sample(4)}, {sample(18)}, {sample(8)},
			{sample(19, "dst", "x"), sample(11, "dst", "y"), sample(12)}, all.Samples[6]}},
		"one": {[]string{"shop"}, [][]metrics.Sample{{shop}, {sample(3)}, nil, {sample(5)}, nil,
			{sample(9, "dst", "x"), sample(12)}, nil}},
		"none": {nil, make([][]metrics.Sample, 7)},
	} {
		t.Run(name, func(t *testing.T) {
			want := metrics.Answer{Window: time.Minute, Notes: []string{hiddenNotes}, Samples: c.want}
			if name == "every namespace" {
				want.Notes = all.Notes
			}
			a := &api{may: c.may}
			from := &source{answer: all}
			got, err := a.rights().Numbers(from).Ask(t.Context(), time.Minute, queries)
			if diff := cmp.Diff(want, got); diff != "" || err != nil {
				t.Errorf("error %v (-want +got):\n%s", err, diff)
			}
			asked := slices.Clone(queries)
			asked[3].By, asked[4].By, asked[5].By = []string{"namespace"}, []string{"namespace"}, []string{"dst", "namespace"}
			if diff := cmp.Diff(asked, from.asked); diff != "" {
				t.Errorf("asked (-want +got):\n%s", diff)
			}
			past := metrics.History{Notes: all.Notes, Moments: []metrics.Moment{{At: time.Unix(1, 0)}, {At: time.Unix(2, 0)}}}
			past.Moments[0].Samples, past.Moments[1].Samples = make([][]metrics.Sample, 7), all.Samples
			history, err := a.rights().History(func(_ context.Context, r metrics.HistoryRequest) (metrics.History, error) {
				if diff := cmp.Diff(asked, r.Queries); diff != "" {
					t.Errorf("asked about the past (-want +got):\n%s", diff)
				}
				return past, nil
			})(t.Context(), metrics.HistoryRequest{Queries: queries})
			if err != nil || len(history.Moments) != 2 || !history.Moments[0].At.Equal(time.Unix(1, 0)) {
				t.Fatalf("history %v, error %v", history, err)
			}
			if diff := cmp.Diff(want.Samples, history.Moments[1].Samples); diff != "" {
				t.Errorf("history (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(want.Notes, history.Notes); diff != "" {
				t.Errorf("notes of the history (-want +got):\n%s", diff)
			}
		})
	}
}

// TestErrorsNameNoPodsOfOthers: the error of a source may name a pod of a namespace that the viewer may not see.
func TestErrorsNameNoPodsOfOthers(t *testing.T) {
	queries := []metrics.Query{{Metric: "a", Match: []metrics.Match{metrics.Is("namespace", "shop")}}}
	named := errors.New("none of 2 proxies answered; pod pay/api-1: away")
	for _, c := range []struct {
		name      string
		may       []string
		err, want error
	}{
		{"every namespace", []string{""}, named, named},
		{"one", []string{"shop"}, named, errHidden},
		{"none", nil, named, errHidden},
		{"there is no past", []string{"shop"}, fmt.Errorf("pay/api-1: %w", metrics.ErrNoHistory), metrics.ErrNoHistory},
	} {
		r := (&api{may: c.may}).rights()
		if _, err := r.Numbers(&source{err: c.err}).Ask(t.Context(), time.Minute, queries); err != c.want {
			t.Errorf("%s: error %v, want %v", c.name, err, c.want)
		}
		_, err := r.History(func(context.Context, metrics.HistoryRequest) (metrics.History, error) {
			return metrics.History{}, c.err
		})(t.Context(), metrics.HistoryRequest{Queries: queries})
		if err != c.want {
			t.Errorf("%s: error about the past %v, want %v", c.name, err, c.want)
		}
	}
}

func TestNumbersNeedADecision(t *testing.T) {
	a := &api{may: []string{""}, err: errors.New("away")}
	from := &source{answer: metrics.Answer{Samples: [][]metrics.Sample{{sample(1)}}}}
	got, err := a.rights().Numbers(from).Ask(t.Context(), time.Minute, []metrics.Query{{Metric: "a"}})
	if err == nil || got.Samples != nil {
		t.Errorf("answer %v, error %v", got, err)
	}
	past, err := a.rights().History(func(context.Context, metrics.HistoryRequest) (metrics.History, error) {
		return metrics.History{Moments: []metrics.Moment{{Samples: [][]metrics.Sample{{sample(1)}}}}}, nil
	})(t.Context(), metrics.HistoryRequest{Queries: []metrics.Query{{Metric: "a"}}})
	if err == nil || past.Moments != nil {
		t.Errorf("history %v, error %v", past, err)
	}
}

// lister has one object of every kind, with one pod, in each namespace that a viewer may read.
type lister struct{ may []string }

func (l lister) List(_ context.Context, k resource.Kind, namespace, _ string) ([]resource.Object, error) {
	if k.Name == resource.Namespace || !slices.Contains(l.may, namespace) || k.Name == "service" && namespace == "pay" {
		return nil, apierrors.NewForbidden(schema.GroupResource{Resource: k.Plural}, "", nil)
	}
	return []resource.Object{{Namespace: namespace, Name: k.Name, Pods: []resource.Pod{{Name: namespace + "-1"}}}}, nil
}

// TestAllNamespacesAreTheVisibleOnes: a question about all of them has an answer for those that the viewer may see.
func TestAllNamespacesAreTheVisibleOnes(t *testing.T) {
	kind := func(name string) resource.Kind {
		k, err := resource.ParseKind(name)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	pods := func(name string) []resource.Pod { return []resource.Pod{{Name: name}} }
	for name, c := range map[string]struct {
		may                       []string
		kind, namespace, selector string
		want                      []resource.Object
	}{
		"namespaces": {[]string{"pay", "shop"}, "namespace", "", "", []resource.Object{
			{Name: "pay", Inject: "enabled", Pods: pods("pay-1")}, {Name: "shop", Inject: "enabled", Pods: pods("shop-1")}}},
		"namespaces, pods of one": {[]string{"pay", "shop"}, "namespace", "shop", "", []resource.Object{
			{Name: "pay", Inject: "enabled"}, {Name: "shop", Inject: "enabled", Pods: pods("shop-1")}}},
		"namespaces that a selector selects": {[]string{"pay", "shop"}, "namespace", "", "name=pay", []resource.Object{
			{Name: "pay", Inject: "enabled", Pods: pods("pay-1")}}},
		"namespaces, pods of another": {[]string{"shop"}, "namespace", "web", "", nil},
		"workloads": {[]string{"pay", "shop"}, "deployment", "", "", []resource.Object{
			{Namespace: "pay", Name: "deployment", Pods: pods("pay-1")},
			{Namespace: "shop", Name: "deployment", Pods: pods("shop-1")}}},
		"a kind that may be read in one": {[]string{"pay", "shop"}, "service", "", "", []resource.Object{
			{Namespace: "shop", Name: "service", Pods: pods("shop-1")}}},
		"a kind that may be read in none": {[]string{"pay"}, "service", "", "", nil},
		"one namespace": {[]string{"shop"}, "deployment", "shop", "", []resource.Object{
			{Namespace: "shop", Name: "deployment", Pods: pods("shop-1")}}},
		"another namespace":    {[]string{"shop"}, "deployment", "pay", "", nil},
		"no right":             {nil, "deployment", "", "", nil},
		"no right, namespaces": {nil, "namespace", "", "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			a := &api{may: c.may}
			got, err := a.rights().Objects(lister{c.may}).List(t.Context(), kind(c.kind), c.namespace, c.selector)
			if diff := cmp.Diff(c.want, got); diff != "" || apierrors.IsForbidden(err) != (c.want == nil) {
				t.Errorf("error %v (-want +got):\n%s", err, diff)
			}
		})
	}
}

// TestScope: a question about all namespaces is one list, or a list for each that the viewer may see.
func TestScope(t *testing.T) {
	for _, c := range []struct{ may, want []string }{
		{[]string{""}, []string{""}}, {[]string{"shop", "pay"}, []string{"pay", "shop"}}, {nil, []string{}},
	} {
		got, err := (&api{may: c.may}).rights().Scope(t.Context())
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("may see %q: %q, error %v", c.may, got, err)
		}
	}
	if got, err := (&api{err: errors.New("away")}).rights().Scope(t.Context()); err == nil {
		t.Errorf("without a decision: %q", got)
	}
}

// TestTooManyNamespaces: a viewer of many namespaces, but not of all, has to choose one.
func TestTooManyNamespaces(t *testing.T) {
	var many []metav1.PartialObjectMetadata
	a := &api{}
	for i := range maxListed + 1 {
		name := "ns-" + strings.Repeat("x", i)
		many = append(many, metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: name}})
		a.may = append(a.may, name)
	}
	r := a.rights()
	r.namespaces = func(context.Context) ([]metav1.PartialObjectMetadata, error) { return many, nil }
	if _, err := r.Scope(t.Context()); !errors.Is(err, ErrTooMany) {
		t.Errorf("error %v", err)
	}
	kind, err := resource.ParseKind("deployment")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Objects(lister{}).List(t.Context(), kind, "", ""); !errors.Is(err, ErrTooMany) {
		t.Errorf("error %v", err)
	}
	many = many[:maxListed]
	if names, err := r.Scope(t.Context()); err != nil || len(names) != maxListed {
		t.Errorf("%d namespaces, error %v", len(names), err)
	}
}
