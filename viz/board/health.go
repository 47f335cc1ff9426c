package board

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/cli/check"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/viz/install"
	"github.com/tulle-mesh/tulle/viz/metrics"
	"github.com/tulle-mesh/tulle/viz/resource"
)

// HealthPage is what the page Health shows.
type HealthPage struct {
	Head
	// Checks are the last results of `tulle check`; nil before the first.
	Checks *HealthChecks `json:"checks"`
	// Checking is when the run of checks that is in progress began; nil if none is.
	Checking *time.Time `json:"checking"`
	// Certificates are the trust anchors and the certificates of the control plane. They come with the first results of
	// the checks. The list is never null.
	Certificates []HealthCertificate `json:"certificates"`
	// ControlPlane are the pods of the control plane and of the viz extension.
	ControlPlane []ControlPod `json:"controlPlane"`
	// Versions counts the proxies by version, most first; nil if the viewer may not list pods. Outdated are the proxies
	// of another version than the control plane.
	Versions []ProxyVersion `json:"versions"`
	Outdated []ProxyPod     `json:"outdated"`
	// CutOff are the proxies without a connection to the control plane: they keep their last configuration. It is nil if
	// the metrics are not known.
	CutOff []ProxyPod `json:"cutOff"`
	// More counts the proxies that Outdated and CutOff leave out.
	More int `json:"more"`
}

// HealthCertificate is one certificate. Part is "trust anchor", "issuer" or "injector". From and To are its validity;
// nil if it cannot be read, and then Error says why.
type HealthCertificate struct {
	Part   string     `json:"part"`
	Name   string     `json:"name"`
	Serial string     `json:"serial"`
	From   *time.Time `json:"from"`
	To     *time.Time `json:"to"`
	Error  string     `json:"error"`
}

// ControlPod is a pod of the control plane or of the viz extension.
type ControlPod struct {
	Namespace string `json:"namespace"`
	Component string `json:"component"`
	Name      string `json:"name"`
	Version   string `json:"version"`
	Ready     bool   `json:"ready"`
	// Status says why the pod is not ready; otherwise it is the phase.
	Status   string     `json:"status"`
	Restarts int        `json:"restarts"`
	Started  *time.Time `json:"started"`
}

// ProxyVersion counts the proxies of a version. Current means that the control plane has the same version, or that its
// version is not known.
type ProxyVersion struct {
	Version string `json:"version"`
	Proxies int    `json:"proxies"`
	Current bool   `json:"current"`
}

// ProxyPod is a pod whose proxy differs from others.
type ProxyPod struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Version   string `json:"version"`
	// Stale is the seconds since the proxy last heard from the control plane; 0 in Outdated.
	Stale float64 `json:"stale"`
}

// maxProxyPods bounds Outdated and CutOff.
const maxProxyPods = 100

// Health returns the checks, the certificates, the control plane and the proxies of the installation. Missing rights
// are notes of the page, not errors.
func Health(ctx context.Context, s Sources, q Query) (HealthPage, error) {
	page := HealthPage{Head: newHead(q, nil), Certificates: []HealthCertificate{}, ControlPlane: []ControlPod{},
		Outdated: []ProxyPod{}}
	if s.Checks != nil {
		results, certs, began := s.Checks.latestResults(ctx, s)
		page.Checks, page.Certificates = results, healthCertificates(certs)
		if !began.IsZero() {
			page.Checking = &began
		}
		page.note("The checks are those of `tulle check`. `tulle check --proxy` also asks each proxy.")
	}
	if s.Client != nil {
		for _, of := range [][2]string{{s.ControlNamespace, mesh.ControlPlaneComponentLabel},
			{install.Namespace, "component"}} {
			if err := page.addControlPods(ctx, s, of[0], of[1]); err != nil {
				return HealthPage{}, err
			}
		}
		slices.SortFunc(page.ControlPlane, func(a, b ControlPod) int {
			return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Component, b.Component),
				cmp.Compare(a.Name, b.Name))
		})
	}
	pods, err := healthPods(ctx, s, q)
	switch {
	case apierrors.IsForbidden(err):
		page.note(fmt.Sprintf("The versions and connections of proxies are not shown: %v.", err))
	case err != nil:
		return HealthPage{}, err
	default:
		page.addVersions(s, pods)
		page.addCutOff(ctx, s, q, pods)
	}
	return page, nil
}

// healthPods returns the pods that the page is about.
func healthPods(ctx context.Context, s Sources, q Query) ([]resource.Object, error) {
	kind, err := resource.ParseKind("pod")
	if err != nil {
		return nil, err
	}
	pods, err := resource.Find(ctx, s.Objects, resource.Target{Kind: kind}, q.Namespace, "")
	if err != nil {
		return nil, err
	}
	resource.Sort(pods)
	return pods, nil
}

func (p *HealthPage) note(sentence string) { p.Notes = append(p.Notes, sentence) }

func healthCertificates(certs []check.Certificate) []HealthCertificate {
	out := []HealthCertificate{}
	for _, c := range certs {
		shown := HealthCertificate{Part: c.Part, Name: c.Name, Serial: c.Serial}
		if c.Err != nil {
			shown.Error = c.Err.Error()
		} else {
			from, to := c.From.UTC(), c.To.UTC()
			shown.From, shown.To = &from, &to
		}
		out = append(out, shown)
	}
	return out
}

// addControlPods adds the pods of a namespace that have the label, which names the component.
func (p *HealthPage) addControlPods(ctx context.Context, s Sources, namespace, label string) error {
	pods, err := s.Client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: label})
	if apierrors.IsForbidden(err) {
		p.note(fmt.Sprintf("The pods of namespace %s are not shown: you need the verb list on pods there.", namespace))
		return nil
	}
	if err != nil {
		return fmt.Errorf("list pods in namespace %q: %w", namespace, err)
	}
	for i := range pods.Items {
		pod := &pods.Items[i]
		if pod.DeletionTimestamp != nil || pod.Status.Phase == corev1.PodSucceeded {
			continue
		}
		p.ControlPlane = append(p.ControlPlane, controlPod(pod, pod.Labels[label]))
	}
	return nil
}

func controlPod(pod *corev1.Pod, component string) ControlPod {
	out := ControlPod{Namespace: pod.Namespace, Component: component, Name: pod.Name,
		Version: pod.Labels[mesh.VersionLabel], Status: string(pod.Status.Phase)}
	if pod.Status.StartTime != nil {
		started := pod.Status.StartTime.UTC()
		out.Started = &started
	}
	for _, c := range pod.Status.Conditions {
		out.Ready = out.Ready || c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	}
	for _, c := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		out.Restarts += int(c.RestartCount)
		waiting := c.State.Waiting
		if !out.Ready && waiting != nil && waiting.Reason != "" && waiting.Reason != "PodInitializing" {
			out.Status = waiting.Reason
		}
	}
	return out
}

// addVersions counts the running proxies by version.
func (p *HealthPage) addVersions(s Sources, pods []resource.Object) {
	control := map[string]bool{}
	for _, pod := range p.ControlPlane {
		if pod.Namespace == s.ControlNamespace {
			control[pod.Version] = true
		}
	}
	current := func(version string) bool { return len(control) == 0 || control[version] }
	p.Versions = []ProxyVersion{}
	counts := map[string]int{}
	for _, o := range pods {
		for _, pod := range o.Pods {
			if !pod.Meshed || pod.Finished {
				continue
			}
			counts[pod.Version]++
			if !current(pod.Version) {
				p.Outdated = p.add(p.Outdated, ProxyPod{Namespace: o.Namespace, Name: o.Name, Version: pod.Version})
			}
		}
	}
	for _, version := range slices.Sorted(maps.Keys(counts)) {
		p.Versions = append(p.Versions, ProxyVersion{version, counts[version], current(version)})
	}
	slices.SortStableFunc(p.Versions, func(a, b ProxyVersion) int { return b.Proxies - a.Proxies })
}

func (p *HealthPage) add(list []ProxyPod, pod ProxyPod) []ProxyPod {
	if len(list) == maxProxyPods {
		p.More++
		return list
	}
	return append(list, pod)
}

// addCutOff adds the pods whose proxies report no connection to the control plane, the longest first. It adds only pods
// that the viewer may list, because series may name others.
func (p *HealthPage) addCutOff(ctx context.Context, s Sources, q Query, pods []resource.Object) {
	var match []metrics.Match
	if q.Namespace != "" {
		match = append(match, metrics.Is("namespace", q.Namespace))
	}
	by := []string{"namespace", "pod"}
	answer, err := s.Numbers.Ask(ctx, q.Window, []metrics.Query{
		{Metric: metrics.ControlConnected, Match: match, By: by, Now: true},
		{Metric: metrics.ControlStale, Match: match, By: by, Now: true}})
	if err == nil && len(answer.Samples) != 2 {
		err = fmt.Errorf("%d results to 2 queries", len(answer.Samples))
	}
	if err != nil {
		p.note("Which proxies are cut off from the control plane is not known: " + metrics.Printable(err.Error(), 300) + ".")
		return
	}
	p.Notes = append(p.Notes, answer.Notes...)
	if len(answer.Samples[0]) == 0 && len(p.Versions) > 0 {
		p.note("Which proxies are cut off from the control plane is not known: no proxy has said whether it is connected.")
		return
	}
	stale := map[Ref]float64{}
	for _, sample := range answer.Samples[1] {
		if sample.Value > 0 && !math.IsInf(sample.Value, 0) {
			stale[podOf(sample.Labels)] = sample.Value
		}
	}
	disconnected := map[Ref]bool{}
	for _, sample := range answer.Samples[0] {
		disconnected[podOf(sample.Labels)] = sample.Value == 0
	}
	found := []ProxyPod{}
	for _, o := range pods {
		pod := Ref{"pod", o.Namespace, o.Name}
		if disconnected[pod] && len(o.Pods) > 0 && !o.Pods[0].Finished {
			found = append(found, ProxyPod{Namespace: pod.Namespace, Name: pod.Name, Version: o.Pods[0].Version,
				Stale: stale[pod]})
		}
	}
	slices.SortFunc(found, func(a, b ProxyPod) int {
		return cmp.Or(cmp.Compare(b.Stale, a.Stale), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	p.CutOff = []ProxyPod{}
	for _, pod := range found {
		p.CutOff = p.add(p.CutOff, pod)
	}
}

func podOf(labels map[string]string) Ref { return Ref{"pod", labels["namespace"], labels["pod"]} }
