package injector

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestHostilePodsAreAnsweredQuickly: every annotation with values that nobody should write, alone and in masses. The
// answer may be a denial, but it is one, soon, and never silent about what it does not follow.
func TestHostilePodsAreAnsweredQuickly(t *testing.T) {
	values := []string{
		"", " ", "\x00", "\ufeff", "-1", "0", "1e999", "NaN", "999999999999999999999999", strings.Repeat("9", 1<<12),
		strings.Repeat("1,", 1<<12), "1-65535,1-65535", "65536", "{{.}}", "${x}", "a\nb", `"`,
		`[{"name":"TULLE_PROXY_CONFIG","value":"x"}]`,
		`[{"name":"GOMEMLIMIT"}]`, "[" + strings.Repeat("[", 9000), "0.0.0.0/0,::/0", "::ffff:1.2.3.4/128", "1Ei", "1m",
		"true", "\u202e",
	}
	r, _ := newReviewer()
	h := newHandler(r)
	ask := func(annotations map[string]string, change func(*corev1.Pod)) *admissionv1.AdmissionResponse {
		t.Helper()
		pod := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: annotations}}
		pod.Spec.Containers = []corev1.Container{{Name: "web", Image: "x"}}
		if change != nil {
			change(&pod)
		}
		text, err := json.Marshal(pod)
		if err != nil {
			t.Fatal(err)
		}
		// With a cost that is not linear this takes minutes, beyond the timeout of the test.
		w := post(h, request("shop", "pods", string(text)))
		var out admissionv1.AdmissionReview
		if err := json.Unmarshal(w.Body.Bytes(), &out); w.Code != http.StatusOK || err != nil || out.Response == nil {
			t.Fatalf("%d bytes: status %d, %v, %.200s", len(text), w.Code, err, w.Body)
		}
		return out.Response
	}
	for _, key := range documentedKeys(t) {
		for _, value := range values {
			resp := ask(map[string]string{key: value}, nil)
			if !resp.Allowed && !strings.Contains(resp.Result.Message, key) {
				t.Errorf("%s=%.40q is refused as %.200q, without the annotation's name", key, value, resp.Result.Message)
			}
			if resp.Allowed && resp.Patch == nil {
				t.Errorf("%s=%.40q stops injection silently", key, value)
			}
		}
	}
	masses := map[string]string{}
	for i := range 10_000 {
		masses[fmt.Sprintf("config.linkerd.io/proxy-something-that-is-not-known-to-anybody-%d", i)] = "x"
	}
	if resp := ask(masses, nil); len(resp.Warnings) == 0 || len(resp.Warnings) > 25 {
		t.Errorf("%d warnings about 10000 unknown annotations", len(resp.Warnings))
	}
	ask(map[string]string{"config.linkerd.io/" + strings.Repeat("x", 2<<20): ""}, nil)
	ask(nil, func(p *corev1.Pod) { p.Spec.Volumes = make([]corev1.Volume, 30_000) })
	ask(nil, func(p *corev1.Pod) { p.Spec.Tolerations = make([]corev1.Toleration, 100_000) })
	if resp := ask(nil, func(p *corev1.Pod) {
		p.Spec.Containers[0].Ports = slices.Repeat([]corev1.ContainerPort{{ContainerPort: 53, Protocol: corev1.ProtocolUDP}},
			10_000)
	}); len(resp.Warnings) > 25 {
		t.Errorf("%d warnings about UDP", len(resp.Warnings))
	}
}

func TestLargeReviewsWaitForEachOther(t *testing.T) {
	r, _ := newReviewer()
	h := newHandler(r)
	for range maxLarge {
		h.large <- struct{}{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ask := func(body string) int {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodPost, "/", strings.NewReader(body)))
		return w.Code
	}
	if got := ask(request("shop", "pods", plainPod) + strings.Repeat(" ", largeBody)); got != http.StatusTooManyRequests {
		t.Errorf("a large review beyond the bound: status %d, want 429", got)
	}
	if got := ask(request("shop", "pods", plainPod)); got != http.StatusOK {
		t.Errorf("a small one meanwhile: status %d, want 200", got)
	}
}

// documentedKeys returns the annotations of docs/annotations.md, which is held true by package inject.
func documentedKeys(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("../docs/annotations.md")
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, m := range regexp.MustCompile("(?m)^\\| `(config.(?:linkerd.io|tulle.dev)/[a-z-]+)`").FindAllSubmatch(text,
		-1) {
		keys = append(keys, string(m[1]))
	}
	if len(keys) < 30 {
		t.Fatalf("%d annotations found", len(keys))
	}
	return keys
}
