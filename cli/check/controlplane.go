package check

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/mesh"
)

func existence() category {
	return category{"tulle-existence", []check{
		{anchor: "l5d-existence-ns", text: "control plane Namespace exists", fatal: true,
			ask: func(f *facts) error { return f.controlNS.err }},
		{anchor: "l5d-existence-linkerd-config", text: "'tulle-config' config map exists", fatal: true,
			ask: func(f *facts) error { return f.values.err }},
		{anchor: "l5d-existence-replicasets", text: "control plane deployments are ready",
			transient: true, ask: askDeployments},
		{anchor: "l5d-existence-unschedulable-pods", text: "no unschedulable pods",
			transient: true, ask: askUnschedulable},
		{anchor: "l5d-existence-control-plane-pods", text: "control plane pods are ready",
			transient: true, ask: askControlPods},
		{anchor: "l5d-cluster-networks-cidr", text: "cluster networks contains all node podCIDRs", ask: askNodeNetworks},
		{anchor: "l5d-cluster-networks-pods", text: "cluster networks contains all pods", ask: askPodNetworks},
		{anchor: "l5d-cluster-networks-svc", text: "cluster networks contains all services", ask: askServiceNetworks},
	}}
}

func configuration() category {
	return category{"tulle-config", []check{
		{anchor: "l5d-config-objects", text: "control plane objects exist", transient: true, ask: askObjects},
		{anchor: "l5d-config-crds", text: "control plane CustomResourceDefinitions exist", transient: true,
			ask: askOwnDefinitions},
		{anchor: "l5d-config-restricted", text: "control plane Namespace enforces the restricted Pod Security Standard",
			warns: true, ask: askRestricted},
		{anchor: "l5d-config-webhook-optout", text: "control plane Namespace is exempt from injection", ask: askExempt},
	}}
}

func versionChecks() category {
	return category{"tulle-version", []check{
		{anchor: "l5d-version-control", text: "control plane and cli versions match", warns: true, ask: askControlVersion},
	}}
}

func haChecks() category {
	return category{"tulle-ha-checks", []check{
		{anchor: "l5d-replicas", text: "multiple replicas of control plane pods", warns: true, ask: askReplicas},
	}}
}

// components are the deployments of the control plane.
var components = []string{mesh.IdentityName, mesh.DestinationName, mesh.InjectorName}

func askDeployments(f *facts) error {
	if f.deployments.err != nil {
		return f.deployments.err
	}
	var errs []error
	for _, name := range components {
		found := false
		for _, d := range f.deployments.value.Items {
			if d.Name != name {
				continue
			}
			found = true
			want := int32(1)
			if d.Spec.Replicas != nil {
				want = *d.Spec.Replicas
			}
			if want == 0 {
				errs = append(errs, fmt.Errorf("%s: scaled to 0 replicas; kubectl -n %s scale deploy/%s --replicas=1", name,
					d.Namespace, name))
			} else if d.Status.ReadyReplicas < want || d.Status.UpdatedReplicas < want ||
				d.Status.ObservedGeneration < d.Generation {
				errs = append(errs, fmt.Errorf("%s: %d of %d replicas are ready, %d up to date", name, d.Status.ReadyReplicas, want,
					d.Status.UpdatedReplicas))
			}
		}
		if !found {
			errs = append(errs, fmt.Errorf("%s: no such deployment", name))
		}
	}
	return errors.Join(errs...)
}

func askUnschedulable(f *facts) error {
	if f.controlPods.err != nil {
		return f.controlPods.err
	}
	var errs []error
	for _, pod := range f.controlPods.value.Items {
		for _, cond := range pod.Status.Conditions {
			if cond.Type == corev1.PodScheduled && cond.Reason == corev1.PodReasonUnschedulable {
				errs = append(errs, fmt.Errorf("%s: %s", pod.Name, cond.Message))
			}
		}
	}
	return errors.Join(errs...)
}

func askControlPods(f *facts) error {
	if f.controlPods.err != nil {
		return f.controlPods.err
	}
	var errs []error
	for _, pod := range f.controlPods.value.Items {
		if cluster.Finished(&pod) || pod.DeletionTimestamp != nil {
			continue
		}
		if why := notReady(&pod); why != "" {
			errs = append(errs, fmt.Errorf("%s: %s", pod.Name, why))
		}
	}
	if len(f.controlPods.value.Items) == 0 {
		return errors.New("there are no control plane pods")
	}
	return errors.Join(errs...)
}

// notReady says why a pod is not ready, from the container that keeps it back, or "".
func notReady(pod *corev1.Pod) string {
	for _, cond := range pod.Status.Conditions {
		if cond.Type == corev1.PodReady && cond.Status == corev1.ConditionTrue {
			return ""
		}
	}
	for _, s := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		if w := s.State.Waiting; w != nil && w.Reason != "" && w.Reason != "PodInitializing" {
			return fmt.Sprintf("container %s is waiting: %s", s.Name, whyWaiting(w))
		}
		if s.State.Running != nil && !s.Ready {
			return fmt.Sprintf("container %s is not ready (restarts: %d)", s.Name, s.RestartCount)
		}
	}
	return fmt.Sprintf("not ready, phase %s", pod.Status.Phase)
}

// whyWaiting returns a container's reason and message. The kubelet reports an image that it cannot pull in two ways,
// while it tries and between two tries. Both have the same text here, so that --wait reports it once.
func whyWaiting(w *corev1.ContainerStateWaiting) string {
	reason, message := w.Reason, w.Message
	if _, cause, ok := strings.Cut(message, "ErrImagePull: "); ok && reason == "ImagePullBackOff" {
		reason, message = "ErrImagePull", cause
	}
	return strings.TrimSpace(reason + " " + message)
}

func askNodeNetworks(f *facts) error {
	if f.nodes.err != nil {
		return f.nodes.err
	}
	return outside(f, "node", func(add func(name, network string)) {
		for _, n := range f.nodes.value.Items {
			for _, cidr := range n.Spec.PodCIDRs {
				add(n.Name, cidr)
			}
		}
	})
}

func askPodNetworks(f *facts) error {
	if f.pods.err != nil {
		return f.pods.err
	}
	return outside(f, "pod", func(add func(name, network string)) {
		for _, pod := range f.pods.value.Items {
			if pod.Spec.HostNetwork || cluster.Finished(&pod) {
				continue
			}
			for _, ip := range pod.Status.PodIPs {
				add(pod.Namespace+"/"+pod.Name, ip.IP)
			}
		}
	})
}

func askServiceNetworks(f *facts) error {
	if f.services.err != nil {
		return f.services.err
	}
	return outside(f, "service", func(add func(name, network string)) {
		for _, svc := range f.services.value.Items {
			for _, ip := range svc.Spec.ClusterIPs {
				if ip != corev1.ClusterIPNone && ip != "" {
					add(svc.Namespace+"/"+svc.Name, ip)
				}
			}
		}
	})
}

// outside returns an error that names what lies outside of the cluster's networks. each calls add for everything that
// must not; a network is an address or a CIDR.
func outside(f *facts, what string, each func(add func(name, network string))) error {
	if f.values.err != nil {
		return f.values.err
	}
	networks, err := f.values.value.Networks()
	if err != nil {
		return err
	}
	var found []string
	each(func(name, network string) {
		prefix, err := netip.ParsePrefix(network)
		if err != nil {
			addr, err := netip.ParseAddr(network)
			if err != nil {
				return
			}
			prefix = netip.PrefixFrom(addr, addr.BitLen())
		}
		inside := slices.ContainsFunc(networks,
			func(n netip.Prefix) bool { return n.Bits() <= prefix.Bits() && n.Contains(prefix.Addr()) })
		if !inside {
			found = append(found, fmt.Sprintf("%s (%s)", name, network))
		}
	})
	if found == nil {
		return nil
	}
	return fmt.Errorf("clusterNetworks (%s) does not contain %ss: %s", f.values.value.ClusterNetworks, what,
		cluster.Abbreviate(found))
}

func askObjects(f *facts) error {
	if f.objects.err != nil {
		return f.objects.err
	}
	if len(f.objects.value) > 0 {
		return fmt.Errorf("missing: %s", strings.Join(f.objects.value, ", "))
	}
	return nil
}

func askRestricted(f *facts) error {
	if f.controlNS.err != nil {
		return f.controlNS.err
	}
	if got := f.controlNS.value.Labels["pod-security.kubernetes.io/enforce"]; got != "restricted" {
		return fmt.Errorf("label pod-security.kubernetes.io/enforce is %q", got)
	}
	return nil
}

func askExempt(f *facts) error {
	if f.controlNS.err != nil {
		return f.controlNS.err
	}
	if got := f.controlNS.value.Labels["config.linkerd.io/admission-webhooks"]; got != "disabled" {
		return fmt.Errorf("label config.linkerd.io/admission-webhooks is %q, want disabled: the injector would wait for "+
			"itself", got)
	}
	return nil
}

func askControlVersion(f *facts) error {
	if f.controlPods.err != nil {
		return f.controlPods.err
	}
	other := map[string]bool{}
	for _, pod := range f.controlPods.value.Items {
		if v := pod.Labels[mesh.VersionLabel]; v != f.expected {
			other[v] = true
		}
	}
	if len(other) > 0 {
		return fmt.Errorf("control plane running %s but cli running %s", strings.Join(sorted(other), ", "), f.expected)
	}
	return nil
}

// askReplicas has an opinion only about installations that ask for high availability.
func askReplicas(f *facts) error {
	if f.values.err != nil {
		return f.values.err
	}
	if !f.values.value.EnablePodDisruptionBudget && !f.values.value.EnablePodAntiAffinity {
		return errNotAsked
	}
	if f.deployments.err != nil {
		return f.deployments.err
	}
	var few []string
	for _, d := range f.deployments.value.Items {
		if slices.Contains(components, d.Name) && d.Status.AvailableReplicas < 2 {
			few = append(few, fmt.Sprintf("%s (%d)", d.Name, d.Status.AvailableReplicas))
		}
	}
	if few != nil {
		return fmt.Errorf("not enough replicas available: %s", strings.Join(few, ", "))
	}
	return nil
}
