package check

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/injector/inject"
	"github.com/tulle-mesh/tulle/internal/sidecar"
	"github.com/tulle-mesh/tulle/mesh"
)

func dataPlane() category {
	return category{"tulle-data-plane", []check{
		{anchor: "l5d-data-plane-exists", text: "data plane namespace exists", fatal: true, ask: askDataNamespace},
		{anchor: "l5d-data-plane-ready", text: "data plane proxies are ready", transient: true, ask: askProxiesReady},
		{anchor: "l5d-data-plane-connected", text: "data plane proxies are connected to the control plane", transient: true,
			ask: askConnected},
		{anchor: "l5d-data-plane-injected", text: "pods that asked for a proxy have one", warns: true, ask: askInjected},
		{anchor: "l5d-data-plane-uid", text: "no application runs as the proxy's user", ask: askProxyUser},
		{anchor: "l5d-data-plane-probes", text: "kubelet probes are allowed", warns: true, ask: askProbes},
		{anchor: "l5d-data-plane-version", text: "data plane is up-to-date", warns: true, ask: askProxyVersions},
		{anchor: "l5d-data-plane-cli-version", text: "data plane and cli versions match", warns: true,
			ask: askProxyCLIVersions},
		{anchor: "l5d-data-plane-pod-labels", text: "data plane pod labels are configured correctly", warns: true,
			ask: askPodLabels},
		{anchor: "l5d-data-plane-services-annotations", text: "data plane service annotations are configured correctly",
			warns: true, ask: askServiceAnnotations},
		{anchor: "linkerd-opaque-ports-definition", text: "opaque ports are properly annotated", warns: true,
			ask: askOpaquePorts},
	}}
}

// inScope reports whether -n leaves the namespace in.
func (f *facts) inScope(namespace string) bool { return f.scope == "" || f.scope == namespace }

// eachPod calls visit for every living pod in scope outside of the control plane.
func (f *facts) eachPod(visit func(*corev1.Pod)) {
	for i := range f.pods.value.Items {
		pod := &f.pods.value.Items[i]
		if f.inScope(pod.Namespace) && pod.Namespace != f.namespace && !cluster.Finished(pod) &&
			pod.DeletionTimestamp == nil {
			visit(pod)
		}
	}
}

// podErrors joins what ask finds wrong with each pod that has a proxy.
func podErrors(f *facts, ask func(*corev1.Pod) string) error {
	if f.pods.err != nil {
		return f.pods.err
	}
	var wrong []string
	f.eachPod(func(pod *corev1.Pod) {
		if sidecar.Of(pod) == nil {
			return
		}
		if why := ask(pod); why != "" {
			wrong = append(wrong, fmt.Sprintf("%s/%s: %s", pod.Namespace, pod.Name, why))
		}
	})
	if wrong == nil {
		return nil
	}
	slices.Sort(wrong)
	if extra := len(wrong) - 10; extra > 0 {
		wrong = append(wrong[:10], fmt.Sprintf("and %d more", extra))
	}
	return errors.New(strings.Join(wrong, "\n"))
}

func askDataNamespace(f *facts) error {
	if f.scope == "" {
		return nil
	}
	if f.namespaces.err != nil {
		return f.namespaces.err
	}
	if !slices.ContainsFunc(f.namespaces.value.Items, func(ns corev1.Namespace) bool { return ns.Name == f.scope }) {
		return fmt.Errorf("the %s namespace does not exist", f.scope)
	}
	return nil
}

func askProxiesReady(f *facts) error {
	if f.pods.err != nil {
		return f.pods.err
	}
	meshed := false
	f.eachPod(func(pod *corev1.Pod) { meshed = meshed || sidecar.Of(pod) != nil })
	err := errors.Join(podErrors(f, proxyNotReady), askRollouts(f, meshed))
	return addUnread(err, f.rollouts.value.unread)
}

// proxyNotReady says what keeps a pod's proxy back, which may be an init container before it, or "" when it is ready.
func proxyNotReady(pod *corev1.Pod) string {
	for _, s := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		proxy, waiting := s.Name == mesh.ProxyContainer, s.State.Waiting
		switch {
		case proxy && s.Ready:
			return ""
		case proxy && waiting != nil:
			return "proxy is waiting: " + whyWaiting(waiting)
		case proxy:
			return "proxy is not ready"
		case waiting != nil && waiting.Reason != "" && waiting.Reason != "PodInitializing":
			return fmt.Sprintf("proxy is waiting for container %s: %s", s.Name, whyWaiting(waiting))
		}
	}
	return "proxy is not ready"
}

// askInjected finds pods that would be injected today and run without a proxy: they are older than their namespace's
// annotation, or were made while the injector was away, or another mesh was quicker.
func askInjected(f *facts) error {
	if err := errors.Join(f.pods.err, f.namespaces.err); err != nil {
		return err
	}
	namespaces := f.injectNamespaces()
	var bare, foreign []string
	f.eachPod(func(pod *corev1.Pod) {
		if sidecar.Of(pod) != nil {
			return
		}
		switch decision := inject.Decide(namespaces[pod.Namespace], pod); {
		case decision.Action == inject.Inject:
			bare = append(bare, pod.Namespace+"/"+pod.Name)
		case decision.Reason == inject.SidecarExists:
			foreign = append(foreign, pod.Namespace+"/"+pod.Name)
		}
	})
	var errs []error
	if bare != nil {
		slices.Sort(bare)
		errs = append(errs, fmt.Errorf("pods without a proxy, restart them: %s", cluster.Abbreviate(bare)))
	}
	if foreign != nil {
		slices.Sort(foreign)
		errs = append(errs, fmt.Errorf("pods with another mesh's proxy, which keeps this one's away: %s",
			cluster.Abbreviate(foreign)))
	}
	return errors.Join(errs...)
}

// askProxyUser finds what the injector refuses today: traffic of the proxy's user is not captured.
func askProxyUser(f *facts) error {
	return podErrors(f, func(pod *corev1.Pod) string {
		proxy := sidecar.Of(pod)
		if proxy.SecurityContext == nil || proxy.SecurityContext.RunAsUser == nil {
			return ""
		}
		uid := *proxy.SecurityContext.RunAsUser
		inherited := pod.Spec.SecurityContext != nil && pod.Spec.SecurityContext.RunAsUser != nil &&
			*pod.Spec.SecurityContext.RunAsUser == uid
		for _, c := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
			if c.Name == mesh.ProxyContainer || c.Name == mesh.InitContainer {
				continue
			}
			own := c.SecurityContext != nil && c.SecurityContext.RunAsUser != nil
			if own && *c.SecurityContext.RunAsUser == uid || !own && inherited {
				return fmt.Sprintf("container %s runs as user %d; its traffic leaves in plain text", c.Name, uid)
			}
		}
		return ""
	})
}

func askProxyVersions(f *facts) error {
	if f.controlPods.err != nil {
		return f.controlPods.err
	}
	control := map[string]bool{}
	for _, pod := range f.controlPods.value.Items {
		control[pod.Labels[mesh.VersionLabel]] = true
	}
	if len(control) == 0 {
		return errors.New("there are no control plane pods to compare with")
	}
	return podErrors(f, func(pod *corev1.Pod) string {
		v, remedy := pod.Annotations[mesh.ProxyVersionAnnotation], "restart it to update the proxy"
		if control[v] {
			return ""
		}
		if pod.Annotations[mesh.ConfigPrefix+"proxy-version"] == v {
			remedy = "its annotation " + mesh.ConfigPrefix + "proxy-version asks for that one"
		}
		return fmt.Sprintf("proxy %s, control plane %s: %s", v, strings.Join(sorted(control), ", "), remedy)
	})
}

func sorted[V any](set map[string]V) []string { return slices.Sorted(maps.Keys(set)) }

func askProxyCLIVersions(f *facts) error {
	return podErrors(f, func(pod *corev1.Pod) string {
		if v := pod.Annotations[mesh.ProxyVersionAnnotation]; v != f.expected {
			return fmt.Sprintf("proxy running %s but cli running %s", v, f.expected)
		}
		return ""
	})
}

// askPodLabels finds injection settings that were written as labels, where nobody reads them.
func askPodLabels(f *facts) error {
	if f.pods.err != nil {
		return f.pods.err
	}
	var wrong []string
	f.eachPod(func(pod *corev1.Pod) {
		for _, key := range slices.Sorted(maps.Keys(pod.Labels)) {
			if key == mesh.InjectAnnotation || strings.HasPrefix(key, mesh.ConfigPrefix) ||
				strings.HasPrefix(key, mesh.OwnConfigPrefix) {
				wrong = append(wrong, fmt.Sprintf("%s/%s: %s is a label, but must be an annotation", pod.Namespace, pod.Name, key))
			}
		}
	})
	if wrong == nil {
		return nil
	}
	return errors.New(strings.Join(wrong, "\n"))
}

func askServiceAnnotations(f *facts) error {
	if f.services.err != nil {
		return f.services.err
	}
	var wrong []string
	for _, svc := range f.services.value.Items {
		if !f.inScope(svc.Namespace) {
			continue
		}
		name := svc.Namespace + "/" + svc.Name
		for _, warning := range inject.CheckServiceKeys(svc.Annotations) {
			wrong = append(wrong, name+": "+warning)
		}
		if err := inject.CheckService(&svc); err != nil {
			wrong = append(wrong, fmt.Sprintf("%s: %v", name, err))
		}
	}
	if wrong == nil {
		return nil
	}
	return errors.New(strings.Join(wrong, "\n"))
}

// askOpaquePorts finds ports that a pod declares opaque while a Service in front of it does not, or the other way
// round: two proxies that disagree about a port; and lists that the injector would refuse today, with which no new pod
// comes.
func askOpaquePorts(f *facts) error {
	if err := errors.Join(f.services.err, f.pods.err); err != nil {
		return err
	}
	refused := podErrors(f, func(pod *corev1.Pod) string {
		if _, err := inject.PodPorts(pod).Opaque(pod.Annotations); err != nil {
			return err.Error() + "; this list has no effect, and new pods with it are refused"
		}
		return ""
	})
	pods := f.opaquePods()
	var wrong []string
	for i := range f.services.value.Items {
		if svc := &f.services.value.Items[i]; f.inScope(svc.Namespace) && len(svc.Spec.Selector) > 0 {
			wrong = append(wrong, disagreements(svc, pods[svc.Namespace])...)
		}
	}
	if wrong == nil {
		return refused
	}
	slices.Sort(wrong)
	return errors.Join(refused, errors.New(strings.Join(wrong, "\n")))
}

// opaquePod is a pod with a proxy, and what it says about opaque ports.
type opaquePod struct {
	*corev1.Pod
	opaque mesh.PortSet
	says   bool
}

// opaquePods returns, by namespace, the pods whose lists are right or that have none: there may be thousands of pods,
// and of Services.
func (f *facts) opaquePods() map[string][]opaquePod {
	pods := map[string][]opaquePod{}
	f.eachPod(func(pod *corev1.Pod) {
		opaque, err := inject.PodPorts(pod).Opaque(pod.Annotations)
		if err != nil || sidecar.Of(pod) == nil {
			return
		}
		_, says := pod.Annotations[mesh.OpaquePortsAnnotation]
		pods[pod.Namespace] = append(pods[pod.Namespace], opaquePod{pod, opaque, says})
	})
	return pods
}

// disagreements compares a Service with the pods of its namespace.
func disagreements(svc *corev1.Service, pods []opaquePod) (wrong []string) {
	onService, err := inject.ServicePorts(svc).Opaque(svc.Annotations)
	if err != nil {
		return nil // the check of annotations says so
	}
	_, annotated := svc.Annotations[mesh.OpaquePortsAnnotation]
	for _, pod := range pods {
		if !annotated && !pod.says || !selects(svc.Spec.Selector, pod.Labels) {
			continue
		}
		for _, p := range svc.Spec.Ports {
			target := targetPort(p, pod.Pod)
			if target == 0 || onService.Contains(uint16(p.Port)) == pod.opaque.Contains(target) {
				continue
			}
			if pod.opaque.Contains(target) {
				wrong = append(wrong, fmt.Sprintf("service %s/%s: port %d leads to port %d of pod %s, which is opaque, but is "+
					"not opaque itself", svc.Namespace, svc.Name, p.Port, target, pod.Name))
			} else if pod.says {
				wrong = append(wrong, fmt.Sprintf("pod %s/%s: port %d is not opaque, but port %d of service %s that leads to it is",
					pod.Namespace, pod.Name, target, p.Port, svc.Name))
			}
		}
	}
	return wrong
}

func selects(selector, labels map[string]string) bool {
	for k, v := range selector {
		if labels[k] != v {
			return false
		}
	}
	return true
}

// targetPort returns the pod's port behind a Service's port, or 0.
func targetPort(p corev1.ServicePort, pod *corev1.Pod) uint16 {
	if name := p.TargetPort.StrVal; name != "" {
		for _, c := range pod.Spec.Containers {
			for _, port := range c.Ports {
				if port.Name == name {
					return uint16(port.ContainerPort)
				}
			}
		}
		return 0
	}
	if p.TargetPort.IntVal != 0 {
		return uint16(p.TargetPort.IntVal)
	}
	return uint16(p.Port)
}
