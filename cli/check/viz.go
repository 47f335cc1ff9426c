package check

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/cli/extension"
	"github.com/tulle-mesh/tulle/internal/sidecar"
	"github.com/tulle-mesh/tulle/mesh"
	vizinstall "github.com/tulle-mesh/tulle/viz/install"
	"github.com/tulle-mesh/tulle/viz/metrics"
	"github.com/tulle-mesh/tulle/viz/metricsclient"
)

// viz asks about the viz extension. Where it is not installed, only `viz check` asks.
func viz(proxy bool) category {
	checks := []check{
		{anchor: "l5d-viz-ns-exists", text: "viz extension Namespace exists", fatal: true, ask: askVizNamespace},
		{anchor: "l5d-viz-config", text: "'" + vizinstall.ConfigMap + "' config map exists", fatal: true,
			ask: func(f *facts) error { return f.viz.values.err }},
		{anchor: "l5d-viz-objects", text: "viz extension objects exist", transient: true, ask: askVizObjects},
		{anchor: "l5d-viz-pods-running", text: "viz extension pods are running", transient: true, ask: askVizPods},
		{anchor: "l5d-viz-pods-injection", text: "viz extension pods are injected", ask: askVizInjected},
		{anchor: "l5d-viz-proxy-healthy", text: "viz extension proxies are healthy", transient: true, ask: askVizProxies},
		{anchor: "l5d-viz-version", text: "viz extension and cli versions match", warns: true, ask: askVizVersion},
		{anchor: "l5d-viz-proxy-cli-version", text: "viz extension proxies and cli versions match", warns: true,
			ask: askVizProxyVersion},
		{anchor: "l5d-viz-prometheus", text: "prometheus is installed and configured correctly", transient: true,
			ask: askVizPrometheus},
	}
	checks = append(append(checks, tapChecks()...), check{
		anchor: "l5d-viz-metrics-api", text: "viz extension self-check", transient: true, ask: askVizAnswer,
	})
	if proxy {
		checks = append(checks, check{anchor: "l5d-viz-data-plane-metrics",
			text: "prometheus has the metrics of data plane proxies", transient: true, ask: askVizDataPlane},
			check{anchor: "l5d-viz-data-plane-tap", text: "data plane proxies can be tapped", warns: true, ask: askUntapped})
	}
	for i := range checks {
		ask := checks[i].ask
		checks[i].ask = func(f *facts) error {
			if !f.viz.asked {
				return errNotAsked
			}
			return ask(f)
		}
	}
	return category{"tulle-viz", append([]check{outdatedTap}, checks...)}
}

// vizFacts are what the checks of the viz extension see.
type vizFacts struct {
	asked      bool // the extension is there, or the user asks for it
	namespaces fact[[]string]
	values     fact[vizinstall.Values]
	missing    fact[[]string] // objects, as kind/name
	workloads  fact[*appsv1.DeploymentList]
	pods       fact[*corev1.PodList]
	// answer has a sample for each proxy that metrics-api has numbers of.
	answer fact[metrics.Answer]
	tap    tapFacts
}

// vizWindow is for a question about now, to which no window belongs.
const vizWindow = metrics.MinWindow

// askMetricsAPI bounds the self-check: metrics-api may have to read every proxy.
const askMetricsAPI = 20 * time.Second

// gatherViz reads what the checks of the extension ask for.
func gatherViz(ctx context.Context, cl *cluster.Client, opts Options, own string) (v vizFacts) {
	v.namespaces = learn(extension.Namespaces(ctx, cl, vizinstall.Extension))
	v.asked = opts.Viz || len(v.namespaces.value) > 0
	if len(v.namespaces.value) != 1 {
		return v
	}
	target := vizinstall.Target{Namespace: v.namespaces.value[0], ControlNamespace: own, Version: opts.Version}
	config, err := extension.VizConfig(ctx, cl, target.Namespace)
	if v.values.err = err; err == nil {
		v.values = learn(vizinstall.ReadValues(config.Data["install"]))
	}
	v.missing.err = v.values.err
	if v.values.err == nil {
		v.missing = learn(missingViz(ctx, cl, v.values.value, target))
	}
	v.workloads = learn(cl.AppsV1().Deployments(target.Namespace).List(ctx, metav1.ListOptions{
		LabelSelector: extension.Label + "=" + vizinstall.Extension}))
	v.pods = learn(cl.CoreV1().Pods(target.Namespace).List(ctx, metav1.ListOptions{
		LabelSelector: extension.Label + "=" + vizinstall.Extension}))
	if v.pods.err == nil {
		v.answer = learn(askExtension(ctx, cl, v.pods.value.Items))
		if v.values.value.Tap.Enabled {
			v.tap = gatherTap(ctx, cl, target, v.pods.value.Items)
		}
	}
	return v
}

// missingViz returns what the values render and the cluster does not have, as kind/name.
func missingViz(ctx context.Context, cl *cluster.Client, values vizinstall.Values, t vizinstall.Target) ([]string,
	error) {
	manifests, err := vizinstall.Render(values, t)
	if err != nil {
		return nil, err
	}
	wanted, err := extension.Rendered(manifests)
	if err != nil {
		return nil, err
	}
	objects, err := extension.Objects(ctx, cl, vizinstall.Extension, t.Namespace)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, o := range extension.Without(wanted, objects) {
		names = append(names, o.Kind+"/"+o.Metadata.Name)
	}
	return names, nil
}

// askExtension asks metrics-api which proxies it has numbers of.
func askExtension(ctx context.Context, cl *cluster.Client, pods []corev1.Pod) (metrics.Answer, error) {
	i := slices.IndexFunc(pods, func(pod corev1.Pod) bool {
		return pod.Labels["component"] == vizinstall.MetricsAPIName && pod.DeletionTimestamp == nil && notReady(&pod) == ""
	})
	if i < 0 {
		return metrics.Answer{}, fmt.Errorf("no pod of %s is ready", vizinstall.MetricsAPIName)
	}
	ctx, cancel := context.WithTimeout(ctx, askMetricsAPI)
	defer cancel()
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return cl.DialPod(context.WithoutCancel(ctx), pods[i].Namespace, pods[i].Name, mesh.MetricsAPIPort)
	}
	return metricsclient.New(metricsclient.Config{Dial: dial}).Ask(ctx, vizWindow, []metrics.Query{
		{Metric: metrics.BuildInfo, By: []string{"namespace", "pod"}, Now: true}})
}

func askVizNamespace(f *facts) error {
	switch names := f.viz.namespaces; {
	case names.err != nil:
		return names.err
	case len(names.value) == 0:
		return fmt.Errorf("no namespace has the label %s=%s: install the extension: tulle viz install | kubectl apply -f -",
			extension.Label, vizinstall.Extension)
	case len(names.value) > 1:
		return fmt.Errorf("several namespaces have the label %s=%s: %s", extension.Label, vizinstall.Extension,
			strings.Join(names.value, ", "))
	}
	return nil
}

func askVizObjects(f *facts) error {
	if f.viz.missing.err != nil {
		return f.viz.missing.err
	}
	if missing := f.viz.missing.value; len(missing) > 0 {
		return fmt.Errorf("missing: %s", strings.Join(missing, ", "))
	}
	return nil
}

// eachVizPod joins what ask finds wrong with each living pod of the extension.
func eachVizPod(f *facts, ask func(*corev1.Pod) string) error {
	if f.viz.pods.err != nil {
		return f.viz.pods.err
	}
	var errs []error
	for i := range f.viz.pods.value.Items {
		pod := &f.viz.pods.value.Items[i]
		if cluster.Finished(pod) || pod.DeletionTimestamp != nil {
			continue
		}
		if why := ask(pod); why != "" {
			errs = append(errs, fmt.Errorf("%s: %s", pod.Name, why))
		}
	}
	return errors.Join(errs...)
}

// askVizPods wants every deployment rolled out, which also finds one whose pods the API server refuses.
func askVizPods(f *facts) error {
	if f.viz.workloads.err != nil {
		return f.viz.workloads.err
	}
	var errs []error
	for _, d := range f.viz.workloads.value.Items {
		want := wanted(d.Spec.Replicas)
		switch refused := replicaFailure(&d); {
		case want == 0:
			errs = append(errs, fmt.Errorf("%s: scaled to 0 replicas", d.Name))
		case refused != "":
			errs = append(errs, fmt.Errorf("%s: %s", d.Name, refused))
		case d.Status.ReadyReplicas < want || d.Status.UpdatedReplicas < want || d.Status.ObservedGeneration < d.Generation:
			errs = append(errs, fmt.Errorf("%s: %d of %d replicas are ready, %d up to date", d.Name, d.Status.ReadyReplicas,
				want, d.Status.UpdatedReplicas))
		}
	}
	return errors.Join(append(errs, eachVizPod(f, notReady))...)
}

func askVizInjected(f *facts) error {
	return eachVizPod(f, func(pod *corev1.Pod) string {
		if sidecar.Of(pod) == nil {
			return fmt.Sprintf("has no proxy; kubectl -n %s rollout restart deploy", pod.Namespace)
		}
		return ""
	})
}

func askVizProxies(f *facts) error {
	return eachVizPod(f, func(pod *corev1.Pod) string {
		if sidecar.Of(pod) == nil {
			return ""
		}
		return proxyNotReady(pod)
	})
}

// askVizVersion compares the extension's own image; that of Prometheus has versions of its own.
func askVizVersion(f *facts) error {
	return eachVizPod(f, func(pod *corev1.Pod) string {
		v := pod.Labels[mesh.VersionLabel]
		if pod.Labels["component"] == vizinstall.PrometheusName || v == f.expected {
			return ""
		}
		return fmt.Sprintf("running %s but cli running %s", v, f.expected)
	})
}

func askVizProxyVersion(f *facts) error {
	return eachVizPod(f, func(pod *corev1.Pod) string {
		if v := pod.Annotations[mesh.ProxyVersionAnnotation]; sidecar.Of(pod) != nil && v != f.expected {
			return fmt.Sprintf("proxy running %s but cli running %s: restart it to update the proxy", v, f.expected)
		}
		return ""
	})
}

// askVizPrometheus has an opinion about installations that are to have a Prometheus.
func askVizPrometheus(f *facts) error {
	values := f.viz.values.value
	own := f.viz.workloads.err == nil && slices.ContainsFunc(f.viz.workloads.value.Items,
		func(d appsv1.Deployment) bool { return d.Name == vizinstall.PrometheusName })
	switch {
	case !usesPrometheus(values):
		return errNotAsked
	case f.viz.workloads.err != nil:
		return f.viz.workloads.err
	case values.Prometheus.Enabled && !own:
		return fmt.Errorf("%s: no such deployment", vizinstall.PrometheusName)
	case f.viz.answer.err != nil:
		return nil // the self-check says so
	case len(f.viz.answer.value.Notes) > 0:
		return fmt.Errorf("metrics-api does without it: %s", strings.Join(f.viz.answer.value.Notes, "; "))
	}
	return nil
}

func usesPrometheus(v vizinstall.Values) bool { return v.Prometheus.Enabled || v.PrometheusURL != "" }

// askVizAnswer wants numbers of one proxy at least, which are those of the extension's own pods.
func askVizAnswer(f *facts) error {
	switch answer := f.viz.answer; {
	case f.viz.pods.err != nil:
		return f.viz.pods.err
	case answer.err != nil && ctxEnded(answer.err):
		return fmt.Errorf("metrics-api does not answer within %v", askMetricsAPI)
	case answer.err != nil:
		return answer.err
	case len(answer.value.Samples) == 0 || len(answer.value.Samples[0]) == 0:
		return errors.New("metrics-api answers, and has numbers of no proxy yet")
	}
	return nil
}

func ctxEnded(err error) bool { return errors.Is(err, context.DeadlineExceeded) }

// askVizDataPlane compares the proxies that run with those that metrics-api has numbers of.
func askVizDataPlane(f *facts) error {
	if f.viz.answer.err != nil || len(f.viz.answer.value.Samples) == 0 {
		return errNotAsked // the self-check says why
	}
	if f.pods.err != nil {
		return f.pods.err
	}
	has := map[string]bool{}
	for _, s := range f.viz.answer.value.Samples[0] {
		has[s.Labels["namespace"]+"/"+s.Labels["pod"]] = true
	}
	var lacking []string
	f.eachPod(func(pod *corev1.Pod) {
		if name := pod.Namespace + "/" + pod.Name; sidecar.Of(pod) != nil && proxyNotReady(pod) == "" && !has[name] {
			lacking = append(lacking, name)
		}
	})
	if lacking == nil {
		return nil
	}
	slices.Sort(lacking)
	return fmt.Errorf("no metrics of: %s", cluster.Abbreviate(lacking))
}
