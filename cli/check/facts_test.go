package check

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestListPodsReadsEveryPage(t *testing.T) {
	all, err := listPods(t.Context(), func(_ context.Context, options metav1.ListOptions) (*corev1.PodList, error) {
		if options.Limit != podPage {
			t.Errorf("asks for %d pods at once, want %d", options.Limit, podPage)
		}
		pod := metav1.ObjectMeta{Name: "of page " + options.Continue}
		page := &corev1.PodList{Items: []corev1.Pod{{ObjectMeta: pod}}}
		page.Continue = map[string]string{"": "2", "2": "3"}[options.Continue]
		return page, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range all.Items {
		got = append(got, p.Name)
	}
	if diff := cmp.Diff([]string{"of page ", "of page 2", "of page 3"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
