package check

import (
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilversion "k8s.io/apimachinery/pkg/util/version"

	"github.com/tulle-mesh/tulle/cli/installation"
)

// minKubernetes is the first release whose admission rules in CEL know IP addresses; native sidecars and
// ValidatingAdmissionPolicy in v1 are older.
const minKubernetes = "1.31.0"

func kubernetesAPI() category {
	return category{"kubernetes-api", []check{
		{anchor: "k8s-api-client", text: "can initialize the client", fatal: true,
			ask: func(f *facts) error { return f.client }},
		{anchor: "k8s-api-query", text: "can query the Kubernetes API", fatal: true,
			ask: func(f *facts) error { return f.version.err }},
	}}
}

func kubernetesVersion() category {
	return category{"kubernetes-version", []check{
		{anchor: "k8s-version", text: "is running the minimum Kubernetes API version", fatal: true, ask: askVersion},
	}}
}

func askVersion(f *facts) error {
	v, err := utilversion.ParseGeneric(f.version.value.GitVersion)
	if err != nil {
		return fmt.Errorf("read the server's version: %w", err)
	}
	if v.LessThan(utilversion.MustParseGeneric(minKubernetes)) {
		return fmt.Errorf("Kubernetes is on version %s, but %s or newer is required", v, minKubernetes)
	}
	return nil
}

func preInstallation() category {
	checks := []check{
		{anchor: "pre-ns", text: "control plane namespace is not used by anything else", ask: askNoNamespace},
		{anchor: "pre-one-installation", text: "no other namespace has a control plane",
			ask: func(f *facts) error { return f.elsewhere }},
	}
	for _, r := range created {
		checks = append(checks, check{
			anchor: "pre-create", text: "can create " + r.resource,
			ask: func(f *facts) error { return f.access[r.resource] },
		})
	}
	return category{"pre-kubernetes-setup", append(checks,
		check{anchor: "pre-linux-nodes", text: "has nodes that run Linux", ask: askLinuxNodes},
		check{anchor: "pre-k8s-clock-skew", text: "no clock skew detected", warns: true, ask: askClockSkew},
	)}
}

// askNoNamespace lets a namespace pass that the user made for the installation.
func askNoNamespace(f *facts) error {
	switch {
	case apierrors.IsNotFound(f.controlNS.err):
		return nil
	case f.controlNS.err != nil:
		return f.controlNS.err
	case f.controlNS.value.Labels[installation.ControlPlaneLabel] == "true":
		return nil
	}
	return fmt.Errorf("the %s namespace already exists, and is not labelled %s=true", f.namespace,
		installation.ControlPlaneLabel)
}

func askLinuxNodes(f *facts) error {
	if f.nodes.err != nil {
		return f.nodes.err
	}
	if !slices.ContainsFunc(f.nodes.value.Items,
		func(n corev1.Node) bool { return n.Labels[corev1.LabelOSStable] == "linux" }) {
		return errors.New("no node has the label kubernetes.io/os=linux")
	}
	return nil
}

// maxClockSkew allows for a kubelet that renews its lease every 10 s and may be late once.
const maxClockSkew = time.Minute

// askClockSkew compares this machine's clock with the time at which ready nodes last renewed their leases. Certificates
// are only valid to those who agree on the time.
func askClockSkew(f *facts) error {
	if err := errors.Join(f.nodes.err, f.leases.err); err != nil {
		return err
	}
	ready := map[string]bool{}
	for _, n := range f.nodes.value.Items {
		for _, cond := range n.Status.Conditions {
			ready[n.Name] = ready[n.Name] || cond.Type == corev1.NodeReady && cond.Status == corev1.ConditionTrue
		}
	}
	var errs []error
	for _, lease := range f.leases.value.Items {
		if !ready[lease.Name] || lease.Spec.RenewTime == nil {
			continue
		}
		if skew := f.now.Sub(lease.Spec.RenewTime.Time); skew.Abs() > maxClockSkew {
			errs = append(errs, fmt.Errorf("clock skew of %v detected for node %s", skew.Round(time.Second), lease.Name))
		}
	}
	return errors.Join(errs...)
}
