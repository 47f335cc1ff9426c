package inject

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/mesh"
)

func TestDecide(t *testing.T) {
	enabled := map[string]string{mesh.InjectAnnotation: "enabled"}
	disabled := map[string]string{mesh.InjectAnnotation: "disabled"}
	ingress := map[string]string{mesh.InjectAnnotation: "ingress"}
	odd := map[string]string{mesh.InjectAnnotation: "true"}
	required := map[string]string{mesh.EnforceLabel: mesh.EnforceRequired}
	host := corev1.PodSpec{HostNetwork: true}
	named := func(name string) corev1.PodSpec {
		return corev1.PodSpec{InitContainers: []corev1.Container{{Name: name}}}
	}
	for _, tt := range []struct {
		name            string
		labels, ns, pod map[string]string
		spec            corev1.PodSpec
		want            Decision
	}{
		{name: "nobody asked", want: Decision{Reason: NotAnnotated}},
		{name: "nobody asked, on the host's network", spec: host, want: Decision{Reason: NotAnnotated}},
		{name: "the namespace asks", ns: enabled, want: Decision{Action: Inject, At: AtNamespace}},
		{name: "the pod asks", pod: ingress, want: Decision{Action: Inject, Ingress: true, At: AtWorkload}},
		{name: "the pod wins over the namespace", ns: enabled, pod: disabled,
			want: Decision{Reason: OptedOut, At: AtWorkload}},
		{name: "the pod wins over a disabled namespace", ns: disabled, pod: enabled,
			want: Decision{Action: Inject, At: AtWorkload}},
		{name: "odd value on the namespace", ns: odd, want: Decision{Reason: InvalidAtNS, At: AtNamespace, Value: "true"}},
		{name: "odd value on the pod", ns: enabled, pod: odd,
			want: Decision{Reason: InvalidAtPod, At: AtWorkload, Value: "true"}},
		{name: "host network", ns: enabled, spec: host, want: Decision{Reason: HostNetwork, At: AtNamespace}},
		{name: "injected already", ns: enabled, spec: named(mesh.ProxyContainer),
			want: Decision{Reason: SidecarExists, At: AtNamespace}},
		{name: "another mesh's proxy", ns: enabled, spec: named("istio-proxy"),
			want: Decision{Reason: SidecarExists, At: AtNamespace}},
		{name: "Windows", ns: enabled, spec: corev1.PodSpec{OS: &corev1.PodOS{Name: corev1.Windows}},
			want: Decision{Reason: Unsupported, At: AtNamespace}},
		{name: "required: nobody has to ask", labels: required, want: Decision{Action: Inject, At: AtNamespace}},
		{name: "required: opting out is refused", labels: required, pod: disabled,
			want: Decision{Action: Deny, Reason: OptedOut, At: AtWorkload}},
		{name: "required: host network is refused", labels: required, spec: host,
			want: Decision{Action: Deny, Reason: HostNetwork, At: AtNamespace}},
		{name: "required: a proxy of one's own is refused", labels: required, spec: named(mesh.ProxyContainer),
			want: Decision{Action: Deny, Reason: SidecarExists, At: AtNamespace}},
		{name: "required: skipped ports are refused", labels: required,
			pod:  map[string]string{"config.alpha.linkerd.io/skip-outbound-ports": "443"},
			want: Decision{Action: Deny, Reason: BypassesCapture, At: AtWorkload}},
		{name: "skipped ports are fine elsewhere", ns: enabled,
			pod:  map[string]string{mesh.SkipInboundPortsAnnotation: "443"},
			want: Decision{Action: Inject, At: AtNamespace}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Annotations: tt.pod}, Spec: tt.spec}
			got := Decide(Namespace{Name: "shop", Labels: tt.labels, Annotations: tt.ns}, pod)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestOpaquePorts(t *testing.T) {
	enabled := map[string]string{mesh.InjectAnnotation: "enabled"}
	own := map[string]string{mesh.OpaquePortsAnnotation: "1"}
	ports := func(numbers ...uint16) (out DeclaredPorts) {
		for _, n := range numbers {
			out = append(out, DeclaredPort{Number: n})
		}
		return out
	}
	for _, tt := range []struct {
		name     string
		ns, own  map[string]string
		declared DeclaredPorts
		want     string
	}{
		{name: "the object's own annotation stays", ns: own, own: own},
		{name: "the namespace's is taken over", ns: map[string]string{mesh.OpaquePortsAnnotation: "7000-7010"},
			declared: ports(80), want: "7000-7010"},
		{name: "of the default list what is declared", ns: enabled, declared: ports(80, 5432, 3306, 5432), want: "5432,3306"},
		{name: "nothing of the default list is declared", ns: enabled, declared: ports(80)},
		{name: "a namespace that did not opt in is left alone", declared: ports(3306)},
		{name: "of names in the namespace's those that the object has",
			ns:       map[string]string{mesh.OpaquePortsAnnotation: "25, redis,80-x,sql"},
			declared: DeclaredPorts{{"redis", 6379}, {"80-x", 80}}, want: "25,redis,80-x"},
		{name: "nothing if it has none of the names", ns: map[string]string{mesh.OpaquePortsAnnotation: "redis"},
			declared: ports(80)},
		{name: "a bad list is not spread", ns: map[string]string{mesh.OpaquePortsAnnotation: "x!"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := OpaquePorts(Defaults(), Namespace{Annotations: tt.ns}, tt.own, tt.declared)
			if ok != (tt.want != "") || ok && got != tt.want {
				t.Errorf("got %q, %v, want %q", got, ok, tt.want)
			}
		})
	}
}
