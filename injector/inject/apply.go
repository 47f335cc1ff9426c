package inject

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/tulle-mesh/tulle/internal/podowner"
	"github.com/tulle-mesh/tulle/mesh"
)

// Owner is the workload that a pod belongs to. The zero Owner is a pod of its own.
type Owner struct {
	Kind string // Deployment, StatefulSet, ...
	Name string
}

// Apply returns a copy of the pod with the proxy in it, and warnings for the pod's author beyond those in the settings.
// The error names what makes the pod impossible to mesh. ns is the pod's namespace, which an admitted pod may not carry
// itself.
func Apply(pod *corev1.Pod, s Settings, d Decision, ns string, owner Owner) (*corev1.Pod, []string, error) {
	if err := refuse(&pod.Spec, s.Proxy.UID); err != nil {
		return nil, nil, err
	}
	if _, err := PodPorts(pod).Opaque(pod.Annotations); err != nil {
		return nil, nil, err
	}
	capture, err := s.capture()
	if err != nil {
		return nil, nil, err
	}
	b := builder{s: s, ns: ns, owner: owner, pod: cmp.Or(pod.Name, strings.TrimSuffix(pod.GenerateName, "-"))}
	initContainer, err := b.initContainer(capture)
	if err != nil {
		return nil, nil, err
	}
	proxy, err := b.proxyContainer()
	if err != nil {
		return nil, nil, err
	}

	out := pod.DeepCopy()
	spec := &out.Spec
	if s.Proxy.NativeSidecar {
		// Right after tulle-init, so that init containers of the application already run inside the mesh.
		always := corev1.ContainerRestartPolicyAlways
		proxy.RestartPolicy = &always
		spec.InitContainers = slices.Concat([]corev1.Container{initContainer, proxy}, spec.InitContainers)
	} else {
		proxy.StartupProbe = nil
		// First, so that the kubelet starts it first; the annotation keeps `kubectl logs` and `exec` on the application.
		spec.InitContainers = slices.Concat([]corev1.Container{initContainer}, spec.InitContainers)
		spec.Containers = slices.Concat([]corev1.Container{proxy}, spec.Containers)
		if len(spec.Containers) > 1 {
			setDefault(&out.Annotations, "kubectl.kubernetes.io/default-container", spec.Containers[1].Name)
		}
	}
	spec.Volumes = append(spec.Volumes, b.volumes()...)
	label(out, s, ns, owner)
	warnings := append(advise(&pod.Spec, s, owner), adviseOnProbes(&pod.Spec, s)...)
	if d.Ingress {
		warnings = append(warnings, mesh.InjectAnnotation+
			": ingress is treated as enabled: requests go to the address that the ingress "+
			"chose, so let it send to Services (their ClusterIP) instead of to pods")
	}
	return out, warnings, nil
}

// capture is what tulle-init programs. The proxy's own ports are reached directly, and never captured.
func (s Settings) capture() (mesh.CaptureConfig, error) {
	own := fmt.Sprintf("%d,%d,%d", s.Proxy.Ports.Inbound, s.Proxy.Ports.Admin, s.Proxy.Ports.Control)
	in, err := mesh.ParsePortSet(own+","+s.ProxyInit.IgnoreInboundPorts, nil)
	if err != nil {
		return mesh.CaptureConfig{}, fmt.Errorf("read skip-inbound-ports: %w", err)
	}
	out, err := mesh.ParsePortSet(s.ProxyInit.IgnoreOutboundPorts, nil)
	if err != nil {
		return mesh.CaptureConfig{}, fmt.Errorf("read skip-outbound-ports: %w", err)
	}
	subnets, err := parseSubnets(s.ProxyInit.SkipSubnets)
	if err != nil {
		return mesh.CaptureConfig{}, fmt.Errorf("read skip-subnets: %w", err)
	}
	return mesh.CaptureConfig{
		OutboundPort:      s.Proxy.Ports.Outbound,
		InboundPort:       s.Proxy.Ports.Inbound,
		ProxyUID:          uint32(s.Proxy.UID),
		SkipInboundPorts:  in,
		SkipOutboundPorts: out,
		SkipSubnets:       subnets,
	}, nil
}

// refuse names what cannot be meshed. A process with the proxy's user passes capture by: its traffic would leave in
// plain text and nobody would see it.
func refuse(spec *corev1.PodSpec, uid int64) error {
	is := func(user *int64) bool { return user != nil && *user == uid }
	if sc := spec.SecurityContext; sc != nil && is(sc.RunAsUser) {
		return fmt.Errorf(
			"spec.securityContext.runAsUser is %d, the proxy's own user, whose traffic is not captured: choose another", uid)
	}
	for _, c := range slices.Concat(spec.InitContainers, spec.Containers) {
		if sc := c.SecurityContext; sc != nil && is(sc.RunAsUser) {
			return fmt.Errorf("container %s runs as user %d, the proxy's own, whose traffic is not captured: choose another",
				c.Name, uid)
		}
	}
	for _, v := range spec.Volumes {
		if v.Name == tokenVolume || v.Name == trustRootsVolume {
			return fmt.Errorf("volume %s has the name of one that the proxy needs: choose another", v.Name)
		}
	}
	return nil
}

func label(pod *corev1.Pod, s Settings, ns string, owner Owner) {
	setLabel := func(key, value string) {
		if len(validation.IsValidLabelValue(value)) > 0 {
			return // an owner's name may be longer than a label's value; the label is only for dashboards
		}
		if pod.Labels == nil {
			pod.Labels = map[string]string{}
		}
		pod.Labels[key] = value
	}
	setLabel(mesh.ControlPlaneNSLabel, s.ControlPlaneNamespace)
	setLabel(mesh.WorkloadNSLabel, ns)
	if owner.Kind != "" {
		setLabel(podowner.LabelPrefix+strings.ToLower(owner.Kind), owner.Name)
	}
	if pod.Annotations == nil {
		pod.Annotations = map[string]string{}
	}
	pod.Annotations[mesh.ProxyVersionAnnotation] = s.proxyVersion()
	pod.Annotations[mesh.CreatedByAnnotation] = "tulle/proxy-injector " + s.Version
}

func (v Values) proxyVersion() string {
	if v.Proxy.Image.Version != "" {
		return v.Proxy.Image.Version
	}
	return v.Version
}

func setDefault(m *map[string]string, key, value string) {
	if *m == nil {
		*m = map[string]string{}
	}
	if _, ok := (*m)[key]; !ok {
		(*m)[key] = value
	}
}

// advise warns of what is allowed and probably not meant.
func advise(spec *corev1.PodSpec, s Settings, owner Owner) []string {
	var warnings []string
	for _, c := range spec.Containers {
		for _, p := range c.Ports {
			if p.Protocol == corev1.ProtocolUDP {
				warnings = append(warnings, fmt.Sprintf("container %s: port %d is UDP, which the mesh does not carry", c.Name,
					p.ContainerPort))
			}
		}
	}
	ends := owner.Kind == "Job" || owner.Kind == "CronJob" || spec.RestartPolicy != "" &&
		spec.RestartPolicy != corev1.RestartPolicyAlways
	if !s.Proxy.NativeSidecar && ends {
		warnings = append(warnings, "this pod is meant to end, but a proxy that is not a native sidecar keeps it running: "+
			"remove proxy-enable-native-sidecar, or call POST /shutdown on the proxy's admin port with proxy-admin-shutdown: "+
			"enabled")
	}
	if !s.Proxy.NativeSidecar && s.explicit["proxy-await"] && s.Proxy.Await {
		warnings = append(warnings, "proxy-await needs a native sidecar: the application may start before the proxy")
	}
	grace := int64(30) // Kubernetes' default
	if spec.TerminationGracePeriodSeconds != nil {
		grace = *spec.TerminationGracePeriodSeconds
	}
	if w := int64(s.Proxy.WaitBeforeExitSeconds); w > 0 && w >= grace {
		warnings = append(warnings, fmt.Sprintf(
			"proxy-wait-before-exit-seconds (%d) reaches terminationGracePeriodSeconds (%d): the proxy will be killed while "+
				"it waits",
			w, grace))
	}
	return warnings
}
