package inject

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/tulle-mesh/tulle/mesh"
)

// TestHTTPSProbesAreWarnedOf has every way in which a pod's own settings keep the kubelet out, and those that do not.
func TestHTTPSProbesAreWarnedOf(t *testing.T) {
	get := &corev1.HTTPGetAction{Port: intstr.FromInt32(8443), Path: "/live", Scheme: corev1.URISchemeHTTPS}
	probe := &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: get}}
	plain := &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Port: intstr.FromInt32(8080)}}}
	hook := &corev1.Lifecycle{PostStart: &corev1.LifecycleHandler{HTTPGet: get}}
	always := corev1.ContainerRestartPolicyAlways
	container := func(c corev1.Container) corev1.PodSpec {
		c.Name = "app"
		return corev1.PodSpec{Containers: []corev1.Container{c}}
	}
	for name, tc := range map[string]struct {
		spec        corev1.PodSpec
		annotations map[string]string
		want        string
	}{
		"a policy that lets in everybody": {container(corev1.Container{LivenessProbe: probe}), nil, ""},
		"deny": {container(corev1.Container{LivenessProbe: probe}),
			map[string]string{mesh.DefaultInboundPolicyAnnotation: "deny"}, "app: livenessProbe"},
		"all-authenticated": {container(corev1.Container{ReadinessProbe: probe}),
			map[string]string{mesh.DefaultInboundPolicyAnnotation: "all-authenticated"}, "app: readinessProbe"},
		"cluster-authenticated": {container(corev1.Container{StartupProbe: probe}),
			map[string]string{mesh.DefaultInboundPolicyAnnotation: "cluster-authenticated"}, "app: startupProbe"},
		"cluster-unauthenticated": {container(corev1.Container{LivenessProbe: probe}),
			map[string]string{mesh.DefaultInboundPolicyAnnotation: "cluster-unauthenticated"}, ""},
		"a port that requires identity": {container(corev1.Container{LivenessProbe: probe}),
			map[string]string{mesh.RequireIdentityPortsAnnotation: "8443"}, "app: livenessProbe"},
		"another port that requires it": {container(corev1.Container{LivenessProbe: probe}),
			map[string]string{mesh.RequireIdentityPortsAnnotation: "443"}, ""},
		"a port that is not captured": {container(corev1.Container{LivenessProbe: probe}),
			map[string]string{mesh.DefaultInboundPolicyAnnotation: "deny", mesh.SkipInboundPortsAnnotation: "8443"}, ""},
		"a lifecycle hook": {container(corev1.Container{Lifecycle: hook}),
			map[string]string{mesh.DefaultInboundPolicyAnnotation: "deny"}, "app: postStart"},
		"plain HTTP": {container(corev1.Container{LivenessProbe: plain}),
			map[string]string{mesh.DefaultInboundPolicyAnnotation: "deny"}, ""},
		"a native sidecar": {corev1.PodSpec{
			InitContainers: []corev1.Container{{Name: "side", RestartPolicy: &always, ReadinessProbe: probe}},
			Containers:     []corev1.Container{{Name: "app"}},
		}, map[string]string{mesh.DefaultInboundPolicyAnnotation: "deny"}, "side: readinessProbe"},
	} {
		s, err := ParseSettings(Defaults(), nil, tc.annotations)
		if err != nil {
			t.Fatal(err)
		}
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: tc.annotations}, Spec: tc.spec}
		_, warnings, err := Apply(pod, s, Decision{}, "shop", Owner{Kind: "Deployment", Name: "web"})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got := strings.Join(warnings, "; ")
		if tc.want == "" && strings.Contains(got, "HTTPS") || !strings.Contains(got, tc.want) {
			t.Errorf("%s: got %q, want %q", name, got, tc.want)
		}
	}
}

// TestAdviceOnHTTPSProbesHelps names an authorization only where it lets the kubelet in.
func TestAdviceOnHTTPSProbesHelps(t *testing.T) {
	spec := &corev1.PodSpec{Containers: []corev1.Container{
		{Name: "app", LivenessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{
			HTTPGet: &corev1.HTTPGetAction{Port: intstr.FromInt32(8443), Scheme: corev1.URISchemeHTTPS},
		}}}}}
	for name, tc := range map[string]struct {
		annotations map[string]string
		server      bool
		want        string
	}{
		"a policy that a Server replaces": {map[string]string{mesh.DefaultInboundPolicyAnnotation: "deny"}, true,
			"inbound policy deny refuses"},
		"a port that requires identity": {map[string]string{mesh.RequireIdentityPortsAnnotation: "8443"}, false,
			"the port requires an identity"},
		"both": {map[string]string{
			mesh.DefaultInboundPolicyAnnotation: "deny", mesh.RequireIdentityPortsAnnotation: "8443",
		}, false, "the port requires an identity"},
	} {
		s, err := ParseSettings(Defaults(), nil, tc.annotations)
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(adviseOnProbes(spec, s), "; ")
		if !strings.Contains(got, tc.want) || strings.Contains(got, "on a Server with proxyProtocol: TLS") != tc.server {
			t.Errorf("%s: got %q, want %q and advice of a Server: %t", name, got, tc.want, tc.server)
		}
	}
}
