package injector

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"
	admissionv1 "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/tulle-mesh/tulle/injector/inject"
	"github.com/tulle-mesh/tulle/mesh"
)

// cluster stands in for what a reviewer asks: namespaces by name, one owner, and the events that were sent.
type cluster struct {
	namespaces map[string]inject.Namespace
	tap        string // the namespace that offers tap; "" if none

	mu     sync.Mutex // guards the field below: reviews may come at the same time
	events []event
}

func (c *cluster) namespace(_ context.Context, name string) (inject.Namespace, error) {
	if ns, ok := c.namespaces[name]; ok {
		return ns, nil
	}
	return inject.Namespace{}, errors.New("not found")
}

func (c *cluster) offersTap(_ context.Context, name string) bool { return c.tap != "" && c.tap == name }

func (c *cluster) owner(_ context.Context, ns string, _ *corev1.Pod) (inject.Owner, corev1.ObjectReference) {
	return inject.Owner{Kind: "Deployment", Name: "web"},
		corev1.ObjectReference{Kind: "Deployment", Name: "web", Namespace: ns, UID: "1"}
}

func (c *cluster) notify(e event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.events = append(c.events, e)
}

func newReviewer() (*reviewer, *cluster) {
	c := &cluster{namespaces: map[string]inject.Namespace{
		"shop":   {Name: "shop", Annotations: map[string]string{mesh.InjectAnnotation: "enabled"}},
		"plain":  {Name: "plain"},
		"opaque": {Name: "opaque", Annotations: map[string]string{mesh.OpaquePortsAnnotation: "7000"}},
		"strict": {Name: "strict", Labels: map[string]string{mesh.EnforceLabel: mesh.EnforceRequired}},
		"tulle":  {Name: "tulle", Annotations: map[string]string{mesh.InjectAnnotation: "enabled"}},
	}}
	return &reviewer{
		controlPlaneNamespace: "tulle", values: inject.Defaults, namespaces: c, tap: c, owners: c, events: c,
		metrics: newMetrics(prometheus.NewRegistry()), log: zap.NewNop(),
	}, c
}

func request(namespace, resource, object string) string {
	return fmt.Sprintf(`{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u1","operation":"CREATE",
"kind":{"version":"v1","kind":"Pod"},"resource":{"version":"v1","resource":%q},"namespace":%q,"object":%s}}`, resource, namespace, object)
}

const plainPod = `{"metadata":{"generateName":"web-"},"spec":{"containers":[{"name":"web","image":"x","ports":[{"containerPort":3306}]}]}}`

func post(h http.Handler, body string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body)))
	return w
}

func TestReview(t *testing.T) {
	pod := func(annotations string, spec string) string {
		return fmt.Sprintf(`{"metadata":{"annotations":{%s}},"spec":{"containers":[{"name":"web","image":"x"}]%s}}`,
			annotations, spec)
	}
	for _, tt := range []struct {
		name        string
		body        string
		denied      string // part of the message; "" means allowed
		patch       string // part of the patch; "" means none
		warning     string
		event       string
		wantSkipped inject.Reason
	}{
		{name: "a pod of a namespace that opted in is injected", body: request("shop", "pods", plainPod),
			patch: "tulle-proxy", event: "Injected"},
		{name: "a pod that nobody asked for is left alone", body: request("plain", "pods", plainPod),
			wantSkipped: inject.NotAnnotated},
		{name: "the control plane's own pods are left alone", body: request("tulle", "pods", plainPod)},
		{name: "a skip that somebody should know of is an event",
			body:  request("shop", "pods", pod("", `,"hostNetwork":true`)),
			event: "InjectionSkipped", wantSkipped: inject.HostNetwork},
		{name: "an unknown value of the annotation is a warning",
			body:    request("shop", "pods", pod(`"linkerd.io/inject":"yes"`, "")),
			warning: `has the value "yes": want enabled, ingress or disabled`, event: "InjectionSkipped",
			wantSkipped: inject.InvalidAtPod},
		{name: "opting out is no event", body: request("shop", "pods", pod(`"linkerd.io/inject":"disabled"`, "")),
			wantSkipped: inject.OptedOut},
		{name: "a bad annotation is refused by name",
			body:   request("shop", "pods", pod(`"config.linkerd.io/proxy-cpu-limit":"lots"`, "")),
			denied: "config.linkerd.io/proxy-cpu-limit"},
		{name: "an unknown annotation is a warning",
			body:  request("shop", "pods", pod(`"config.linkerd.io/opaque-port":"1"`, "")),
			patch: "tulle-proxy", warning: "did you mean config.linkerd.io/opaque-ports", event: "Injected"},
		{name: "the proxy's user is refused", body: request("shop", "pods", pod("", `,"securityContext":{"runAsUser":2102}`)),
			denied: "2102"},
		{name: "opting out where injection is mandatory is refused",
			body:   request("strict", "pods", pod(`"linkerd.io/inject":"disabled"`, "")),
			denied: "mandatory"},
		{name: "a dry run sends no event", body: strings.Replace(request("shop", "pods", plainPod), `"uid"`,
			`"dryRun":true,"uid"`, 1),
			patch: "tulle-proxy"},
		{name: "a Service takes over its namespace's opaque ports",
			body:  request("opaque", "services", `{"metadata":{"name":"a/b"},"spec":{}}`),
			patch: `{"op":"add","path":"/metadata/annotations","value":{"config.linkerd.io/opaque-ports":"7000"}}`},
		{name: "a Service with annotations of its own keeps them", body: request("opaque", "services",
			`{"metadata":{"annotations":{"a/b":"c"}},"spec":{}}`),
			patch: `/metadata/annotations/config.linkerd.io~1opaque-ports`},
		{name: "a Service with a bad list is refused", body: request("shop", "services",
			`{"metadata":{"annotations":{"config.linkerd.io/opaque-ports":"1-"}}}`),
			denied: `annotation config.linkerd.io/opaque-ports: "1-" is not a port (1-65535), a range first-last or the name of one of its ports`},
		{name: "a Service with half a range is refused", body: request("shop", "services",
			`{"metadata":{"annotations":{"config.linkerd.io/opaque-ports":"80-x"}},"spec":{"ports":[{"name":"http","port":80}]}}`),
			denied: `"80-x" is not a port`},
		{name: "a Service whose port has such a name is taken", body: request("shop", "services",
			`{"metadata":{"annotations":{"config.linkerd.io/opaque-ports":"80-x"}},"spec":{"ports":[{"name":"80-x","port":80}]}}`)},
		{name: "a pod that names a port it does not have is refused",
			body:   request("shop", "pods", pod(`"config.linkerd.io/opaque-ports":"25,redis"`, "")),
			denied: `annotation config.linkerd.io/opaque-ports: "redis" is not a port (1-65535), a range first-last or the name of one of its ports`},
		{name: "a pod without a proxy takes over opaque ports too", body: request("opaque", "pods", plainPod),
			patch: "7000", wantSkipped: inject.NotAnnotated},
		{name: "a typo in the inject annotation is a warning where nobody asked",
			body:        request("plain", "pods", pod(`"linkerd.io/injct":"enabled"`, "")),
			warning:     "annotation linkerd.io/injct of the pod is unknown and has no effect; did you mean linkerd.io/inject?",
			wantSkipped: inject.NotAnnotated},
		{name: "a typo in a Service's annotation is a warning", body: request("plain", "services",
			`{"metadata":{"annotations":{"config.linkerd.io/opaque-port":"80"}},"spec":{}}`),
			warning: "annotation config.linkerd.io/opaque-port of the Service is unknown and has no effect; did you mean " +
				"config.linkerd.io/opaque-ports?"},
		{name: "other objects are left alone", body: request("shop", "secrets", `{}`)},
		{name: "updates are left alone", body: strings.Replace(request("shop", "pods", plainPod), "CREATE", "UPDATE", 1)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, c := newReviewer()
			w := post(newHandler(r), tt.body)
			if w.Code != http.StatusOK {
				t.Fatalf("status %d: %s", w.Code, w.Body)
			}
			var out admissionv1.AdmissionReview
			if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
				t.Fatal(err)
			}
			resp := out.Response
			if resp == nil || resp.UID != "u1" || out.Request != nil {
				t.Fatalf("answer is %s, want a response to u1 alone", w.Body)
			}
			if resp.Allowed != (tt.denied == "") || !resp.Allowed && !strings.Contains(resp.Result.Message, tt.denied) {
				t.Errorf("allowed %v, result %v, want denial %q", resp.Allowed, resp.Result, tt.denied)
			}
			if tt.patch == "" && resp.Patch != nil || !bytes.Contains(resp.Patch, []byte(tt.patch)) {
				t.Errorf("patch is %s, want one with %q", resp.Patch, tt.patch)
			}
			if tt.warning == "" && len(resp.Warnings) > 0 || !strings.Contains(strings.Join(resp.Warnings, "\n"), tt.warning) {
				t.Errorf("warnings are %q, want one with %q", resp.Warnings, tt.warning)
			}
			var got string
			for _, e := range c.events {
				got += e.reason
			}
			if got != tt.event {
				t.Errorf("events are %q, want %q", got, tt.event)
			}
			if tt.wantSkipped != "" && countSkips(r.metrics, tt.wantSkipped) != 1 {
				t.Errorf("skip reason %s was not counted", tt.wantSkipped)
			}
		})
	}
}

// countSkips adds up the answers with a skip reason, whatever their other labels.
func countSkips(m *metrics, reason inject.Reason) float64 {
	var sum float64
	for _, at := range []string{"", inject.AtNamespace, inject.AtWorkload} {
		for _, kind := range []string{"Pod", "Deployment"} {
			for _, ns := range []string{"shop", "plain", "opaque"} {
				sum += testutil.ToFloat64(m.responses.WithLabelValues(kind, ns, at, "true", string(reason)))
			}
		}
	}
	return sum
}

func TestRequestsWithoutAnAnswer(t *testing.T) {
	const review = `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"`
	for _, tt := range []struct {
		name, body, reason string
		status             int
	}{
		{"nothing", "", errUnreadable, http.StatusBadRequest},
		{"not JSON", "}{", errUnreadable, http.StatusBadRequest},
		{"null", "null", errVersion, http.StatusBadRequest},
		{"another version", `{"apiVersion":"admission.k8s.io/v1beta1","kind":"AdmissionReview"}`, errVersion,
			http.StatusBadRequest},
		{"no request", review + `}`, errNoRequest, http.StatusBadRequest},
		{"a null request", review + `,"request":null}`, errNoRequest, http.StatusBadRequest},
		{"an empty request", review + `,"request":{}}`, errNoRequest, http.StatusBadRequest},
		{"no object", strings.Replace(request("shop", "pods", plainPod), `"object":`, `"other":`, 1), errBadObject,
			http.StatusBadRequest},
		{"an object that is not a pod", request("shop", "pods", `{"spec":[]}`), errBadObject, http.StatusBadRequest},
		{"a namespace that cannot be read", request("gone", "pods", plainPod), errNamespace, http.StatusInternalServerError},
		{"too deep", strings.Repeat("[", 1<<20), errUnreadable, http.StatusBadRequest},
		{"too large", review + strings.Repeat(" ", maxBodyBytes), errTooLarge, http.StatusRequestEntityTooLarge},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, _ := newReviewer()
			w := post(newHandler(r), tt.body)
			if w.Code != tt.status {
				t.Errorf("status %d (%s), want %d", w.Code, w.Body, tt.status)
			}
			if got := testutil.ToFloat64(r.metrics.errors.WithLabelValues(tt.reason)); got != 1 {
				t.Errorf("%v errors with reason %s, want 1", got, tt.reason)
			}
		})
	}
}

func TestOverload(t *testing.T) {
	r, _ := newReviewer()
	h := newHandler(r)
	for range maxInFlight {
		h.slots <- struct{}{}
	}
	if w := post(h, request("shop", "pods", plainPod)); w.Code != http.StatusTooManyRequests {
		t.Errorf("status %d, want %d", w.Code, http.StatusTooManyRequests)
	}
	<-h.slots
	if w := post(h, request("shop", "pods", plainPod)); w.Code != http.StatusOK {
		t.Errorf("status %d after a request ended, want %d", w.Code, http.StatusOK)
	}
	if len(h.slots) != maxInFlight-1 {
		t.Errorf("%d slots are taken, want %d", len(h.slots), maxInFlight-1)
	}
}

// FuzzHandler: whatever the body, the answer is a review's response or a status that says why not.
func FuzzHandler(f *testing.F) {
	f.Add([]byte(request("shop", "pods", plainPod)))
	f.Add([]byte(request("opaque", "services", `{"metadata":{"annotations":null},"spec":{"ports":[{"port":3306}]}}`)))
	f.Add([]byte(request("shop", "pods", `{"spec":{"containers":null,"os":{},"securityContext":{}}}`)))
	f.Add([]byte(`{"request":{"object":null,"uid":"1"}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, _ := newReviewer()
		w := post(newHandler(r), string(body))
		switch w.Code {
		case http.StatusOK:
			var out admissionv1.AdmissionReview
			if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil || out.Response == nil || out.Response.UID == "" {
				t.Errorf("answer %s (%v)", w.Body, err)
			}
		case http.StatusBadRequest, http.StatusRequestEntityTooLarge:
		case http.StatusInternalServerError:
			if !strings.Contains(w.Body.String(), "get namespace") {
				t.Errorf("internal error for %q: %s", body, w.Body)
			}
		default:
			t.Errorf("status %d", w.Code)
		}
	})
}

// A pod whose list of ports is wrong is refused for its annotation, whichever part of the injector found out.
func TestARefusedListOfPortsCountsAsAnAnnotation(t *testing.T) {
	r, _ := newReviewer()
	post(newHandler(r), request("shop", "pods",
		`{"metadata":{"annotations":{"config.linkerd.io/opaque-ports":"redis"}},"spec":{"containers":[{"name":"web","image":"x"}]}}`))
	if got := testutil.ToFloat64(r.metrics.denials.WithLabelValues(denyAnnotation)); got != 1 {
		t.Errorf("%s is %v, want 1", denyAnnotation, got)
	}
}

// TestTapFollowsTheExtension wants the tap server to be named only where the installation of the extension says so,
// whatever a namespace says.
func TestTapFollowsTheExtension(t *testing.T) {
	for name, test := range map[string]struct {
		offered string
		want    bool
	}{
		"no extension":        {"", false},
		"another namespace":   {"elsewhere", false},
		"the tap's namespace": {mesh.VizNamespace, true},
	} {
		t.Run(name, func(t *testing.T) {
			r, c := newReviewer()
			c.tap = test.offered
			c.namespaces[mesh.VizNamespace] = inject.Namespace{
				Labels:      map[string]string{mesh.ExtensionLabel: mesh.VizExtension},
				Annotations: map[string]string{"viz.tulle.dev/tap": "enabled"}, // as anybody may write
			}
			answer := post(newHandler(r), request("shop", "pods", plainPod)).Body.String()
			if got := strings.Contains(patchOf(t, answer), "/ns/tulle-viz/sa/tap"); got != test.want {
				t.Errorf("the tap server may watch: %v, want %v", got, test.want)
			}
		})
	}
}

// patchOf returns the patch of an answer.
func patchOf(t *testing.T, answer string) string {
	t.Helper()
	var review admissionv1.AdmissionReview
	if err := json.Unmarshal([]byte(answer), &review); err != nil {
		t.Fatal(err)
	}
	return string(review.Response.Patch)
}
