package manifests

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/cel-go/cel"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/tulle-mesh/tulle/controller/compile"
	"github.com/tulle-mesh/tulle/injector/inject"
	"github.com/tulle-mesh/tulle/install"
	"github.com/tulle-mesh/tulle/mesh"
)

// TestRequiredPolicy evaluates the policy as the API server does after all webhooks. It uses the injector's output, and
// all ways around the proxy that a pod's author can write.
func TestRequiredPolicy(t *testing.T) {
	policy := policyNamed(t, "tulle-required-injection")
	uid, other, root := int64(mesh.ProxyUID), int64(1000), int64(0)
	for _, tt := range []struct {
		name      string
		namespace map[string]string // annotations
		change    func(*corev1.Pod)
		debug     bool // an ephemeral container is added to a pod, instead of a pod created
		want      string
	}{
		{name: "what the injector makes"},
		{name: "an ordinary container proxy", change: func(p *corev1.Pod) {
			p.Spec.Containers = append(p.Spec.Containers, p.Spec.InitContainers[1])
			p.Spec.InitContainers = p.Spec.InitContainers[:1]
		}},
		{name: "no proxy", change: func(p *corev1.Pod) { p.Spec.InitContainers = nil }, want: "has no proxy"},
		{name: "no capture", change: func(p *corev1.Pod) { p.Spec.InitContainers = p.Spec.InitContainers[1:] },
			want: "has no proxy"},
		{name: "a proxy of somebody else", change: func(p *corev1.Pod) {
			p.Spec.InitContainers[1].Image = "ghcr.io/tulle-mesh/proxy-like:1"
		}, want: "has no proxy"},
		{name: "the administrator's own image", namespace: map[string]string{
			"config.linkerd.io/proxy-image": "example.org/p"}, change: func(p *corev1.Pod) {
			p.Spec.InitContainers[0].Image, p.Spec.InitContainers[1].Image = "example.org/p:1", "example.org/p@sha256:0"
		}},
		{name: "host network", change: func(p *corev1.Pod) { p.Spec.HostNetwork = true }, want: "host's network"},
		{name: "opting out", change: annotate("linkerd.io/inject", "disabled"), want: "an annotation"},
		{name: "asking", change: annotate("linkerd.io/inject", "ingress")},
		{name: "skipping ports", change: annotate("config.alpha.linkerd.io/skip-outbound-ports", "443"),
			want: "an annotation"},
		{name: "the proxy's user in a container", change: runAs(&corev1.SecurityContext{RunAsUser: &uid}),
			want: "proxy's user"},
		{name: "the proxy's user in the pod", change: func(p *corev1.Pod) {
			p.Spec.SecurityContext = &corev1.PodSecurityContext{RunAsUser: &uid}
		}, want: "proxy's user"},
		{name: "the namespace's proxy user", namespace: map[string]string{"config.linkerd.io/proxy-uid": "1000"},
			change: runAs(&corev1.SecurityContext{RunAsUser: &other}), want: "proxy's user"},
		{name: "another user", change: runAs(&corev1.SecurityContext{RunAsUser: &root})},
		{name: "power over the capture", change: runAs(&corev1.SecurityContext{
			Capabilities: &corev1.Capabilities{Add: []corev1.Capability{"NET_ADMIN"}}}),
			want: "could change the capture"},
		{name: "a harmless capability", change: runAs(&corev1.SecurityContext{
			Capabilities: &corev1.Capabilities{Add: []corev1.Capability{"CHOWN"}}})},
		{name: "a debugger", debug: true, change: debugger(nil)},
		{name: "a debugger as the proxy's user", debug: true, change: debugger(&corev1.SecurityContext{RunAsUser: &uid}),
			want: "proxy's user"},
		{name: "a debugger in an old pod without a proxy", debug: true,
			change: func(p *corev1.Pod) { p.Spec.InitContainers = nil }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pod := injectedPod(t)
			if tt.change != nil {
				tt.change(pod)
			}
			operation := "CREATE"
			if tt.debug {
				operation = "UPDATE"
			}
			got := evaluate(t, policy, map[string]any{
				"object":          toJSON(t, pod),
				"namespaceObject": toJSON(t, corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Annotations: tt.namespace}}),
				"request":         map[string]any{"operation": operation},
			})
			if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
				t.Errorf("denied with %q, want %q", got, tt.want)
			}
		})
	}
}

// TestUnknownAnnotationPolicy compares the API server's hint about annotations that tune requests with the
// controller's.
func TestUnknownAnnotationPolicy(t *testing.T) {
	policy := policyNamed(t, "tulle-annotations")
	policy.Variables = slices.DeleteFunc(policy.Variables, func(v admissionregistrationv1.Variable) bool {
		return v.Name != "said" && v.Name != "unknown"
	})
	policy.Validations = policy.Validations[len(policy.Validations)-1:]
	for _, key := range []string{
		"balancer.linkerd.io/failure-accrual", "balancer.linkerd.io/failure-accural",
		"balancer.linkerd.io/failure-accrual-consecutive-max-failures",
		"balancer.linkerd.io/failure-accrual-consecutive-min-penalty",
		"balancer.linkerd.io/failure-accrual-consecutive-max-penalty",
		"balancer.linkerd.io/failure-accrual-consecutive-jitter-ratio",
		"balancer.linkerd.io/failure-accrual-consecutive-jitter",
		"balancer.alpha.linkerd.io/failure-accrual-success-rate-threshold",
		"balancer.alpha.linkerd.io/failure-accrual-success-rate-window",
		"balancer.alpha.linkerd.io/failure-accrual-success-rate-min-requests",
		"balancer.alpha.linkerd.io/failure-accrual", "retry.linkerd.io/http", "retry.linkerd.io/htpp",
		"timeout.linkerd.io/idle", "timeout.linkerd.io/idel", "fault.tulle.dev/until", "fault.tulle.dev/untill",
	} {
		service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{key: "x"}}}
		got := evaluate(t, policy, map[string]any{"object": toJSON(t, service)})
		unknown := slices.ContainsFunc(compile.CheckAnnotations(service, true, time.Now()),
			func(f compile.Finding) bool { return f.Reason == compile.ReasonUnknownAnnotation })
		if unknown != strings.HasPrefix(got, "annotation "+key+": there is no such annotation") {
			t.Errorf("%s: the policy says %q; the controller finds it unknown: %t", key, got, unknown)
		}
	}
}

// TestProxyAnnotationsOfServicesPolicy compares the API server's message about an updated Service with the injector's
// about a new one.
func TestProxyAnnotationsOfServicesPolicy(t *testing.T) {
	policy := policyNamed(t, "tulle-proxy-annotations-of-services")
	for _, key := range []string{
		mesh.OpaquePortsAnnotation, "config.linkerd.io/opaque-port", "config.tulle.dev/opaque-ports",
		"config.alpha.linkerd.io/opaque-ports", "config.linkerd.io/skip-inbound-ports", mesh.InjectAnnotation,
		"linkerd.io/injct", "linkerd.io/created-by", "example.org/config.linkerd.io",
	} {
		service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{key: "80"}}}
		got := evaluate(t, policy, map[string]any{"object": toJSON(t, service)})
		warns := len(inject.CheckServiceKeys(service.Annotations)) > 0
		if warns != strings.HasPrefix(got, "annotation "+key+" has no effect on a Service") {
			t.Errorf("%s: the policy says %q; the injector warns: %t", key, got, warns)
		}
	}
}

func TestInjectionLabelsPolicy(t *testing.T) {
	policy := policyNamed(t, "tulle-injection-labels")
	for _, tt := range []struct {
		name string
		meta metav1.ObjectMeta
		want string
	}{
		{name: "nothing"},
		{name: "required", meta: metav1.ObjectMeta{Labels: map[string]string{mesh.EnforceLabel: mesh.EnforceRequired}}},
		{name: "misspelled value", meta: metav1.ObjectMeta{Labels: map[string]string{mesh.EnforceLabel: "requierd"}},
			want: `label tulle.dev/injection is "requierd": want required; injection is not mandatory here`},
		{name: "misspelled key", meta: metav1.ObjectMeta{Labels: map[string]string{"tulle.dev/inject": "required"}},
			want: "label tulle.dev/inject has no effect: want tulle.dev/injection=required"},
		{name: "annotation", meta: metav1.ObjectMeta{Annotations: map[string]string{mesh.EnforceLabel: "required"}},
			want: "annotation tulle.dev/injection has no effect: want label tulle.dev/injection=required"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := evaluate(t, policy, map[string]any{"object": toJSON(t, corev1.Namespace{ObjectMeta: tt.meta})})
			if got != tt.want {
				t.Errorf("the policy says %q, want %q", got, tt.want)
			}
		})
	}
}

func policyNamed(t *testing.T, name string) admissionregistrationv1.ValidatingAdmissionPolicySpec {
	t.Helper()
	out, err := Render(install.Defaults(), install.Target{Version: "v1"})
	if err != nil {
		t.Fatal(err)
	}
	for doc := range bytes.SplitSeq(out, []byte("\n---\n")) {
		var policy admissionregistrationv1.ValidatingAdmissionPolicy
		if err := yaml.Unmarshal(doc, &policy); err == nil && policy.Kind == "ValidatingAdmissionPolicy" &&
			policy.Name == name {
			return policy.Spec
		}
	}
	t.Fatalf("policy %s is not among the manifests", name)
	return admissionregistrationv1.ValidatingAdmissionPolicySpec{}
}

func injectedPod(t *testing.T) *corev1.Pod {
	t.Helper()
	settings, err := inject.ParseSettings(inject.Defaults(), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	pod, _, err := inject.Apply(&corev1.Pod{
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: "x"}}}},
		settings, inject.Decision{Action: inject.Inject}, "bank", inject.Owner{})
	if err != nil {
		t.Fatal(err)
	}
	return pod
}

func annotate(key, value string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Annotations[key] = value }
}

func runAs(sc *corev1.SecurityContext) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Spec.Containers[0].SecurityContext = sc }
}

func debugger(sc *corev1.SecurityContext) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.EphemeralContainers = []corev1.EphemeralContainer{{
			EphemeralContainerCommon: corev1.EphemeralContainerCommon{Name: "debugger", SecurityContext: sc},
		}}
	}
}

func toJSON(t *testing.T, v any) map[string]any {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	var out map[string]any
	if err := dec.Decode(&out); err != nil {
		t.Fatal(err)
	}
	return integers(out).(map[string]any)
}

// integers converts JSON's numbers to the integers of the API server's schema.
func integers(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = integers(v[k])
		}
	case []any:
		for i := range v {
			v[i] = integers(v[i])
		}
	case json.Number:
		n, _ := v.Int64()
		return n
	}
	return v
}

// evaluate returns the message of the first validation that fails.
func evaluate(t *testing.T, policy admissionregistrationv1.ValidatingAdmissionPolicySpec, input map[string]any) string {
	t.Helper()
	env, err := cel.NewEnv(cel.Variable("object", cel.DynType), cel.Variable("namespaceObject", cel.DynType),
		cel.Variable("request", cel.DynType), cel.Variable("variables", cel.DynType))
	if err != nil {
		t.Fatal(err)
	}
	variables := map[string]any{}
	input["variables"] = variables
	value := func(expression string) any {
		ast, issues := env.Compile(expression)
		if issues.Err() != nil {
			t.Fatalf("%s: %v", expression, issues.Err())
		}
		program, err := env.Program(ast)
		if err != nil {
			t.Fatalf("%s: %v", expression, err)
		}
		out, _, err := program.Eval(input)
		if err != nil {
			t.Fatalf("%s: %v", expression, err)
		}
		return out
	}
	for _, v := range policy.Variables {
		variables[v.Name] = value(v.Expression)
	}
	for _, v := range policy.Validations {
		if out := value(v.Expression); out.(interface{ Value() any }).Value() != true {
			if v.MessageExpression != "" {
				return value(v.MessageExpression).(interface{ Value() any }).Value().(string)
			}
			return v.Message
		}
	}
	return ""
}
