package install

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/tulle-mesh/tulle/install"
	"github.com/tulle-mesh/tulle/viz/dashboards"
	"github.com/tulle-mesh/tulle/viz/scrape"
)

// relabelling is one rule, of Prometheus's configuration or of a PodMonitor.
type relabelling struct {
	Action  string   `json:"action"`
	Sources []string `json:"source_labels"`
	Target  string   `json:"target_label"`
	Regex   string   `json:"regex"`
}

const metaLabel = "__meta_kubernetes_pod_label_"

// TestNoLabelOfAPodReplacesAnother gives a pod a label for each label that its proxy writes, and for each that says
// where the pod is. None may become a label of its series: the owner of the pod could count its traffic as another
// namespace's, or invent the clients that tulle policy learn admits. The rules for Prometheus, those of the PodMonitor
// and viz without Prometheus must agree.
func TestNoLabelOfAPodReplacesAnother(t *testing.T) {
	own := proxyLabels(t)
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-1", Labels: map[string]string{}}}
	for _, name := range slices.Concat(own, []string{"job", "instance", "namespace", "pod", "unknown"}) {
		if name != "job" { // the kind of an owner
			pod.Labels["linkerd.io/proxy-"+name] = "evil"
		}
		for _, spelling := range []string{name, strings.ReplaceAll(name, "_", "-"), strings.ReplaceAll(name, "_", ".")} {
			pod.Labels["linkerd.io/"+spelling] = "evil"
			pod.Labels[spelling] = "evil"
		}
	}
	want := map[string]string{}
	for key, name := range map[string]string{"proxy-deployment": "deployment", "proxy-statefulset": "statefulset",
		"proxy-daemonset": "daemonset", "proxy-replicaset": "replicaset", "proxy-job": "k8s_job",
		"proxy-cronjob": "cronjob", "proxy-replicationcontroller": "replicationcontroller",
		"control-plane-ns": "control_plane_ns", "workload-ns": "workload_ns"} {
		pod.Labels["linkerd.io/"+key], want[name] = "of "+key, "of "+key
		if slices.Contains(own, name) {
			t.Errorf("%s is a label of the proxy's own series", name)
		}
	}
	direct := scrape.Labels(pod)
	for _, name := range []string{"job", "namespace", "pod"} {
		delete(direct, name)
	}
	for what, got := range map[string]map[string]string{
		"prometheus.yml":     relabel(t, prometheusRules(t), pod.Labels),
		"the PodMonitor":     relabel(t, monitorRules(t), pod.Labels),
		"without Prometheus": direct,
	} {
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
}

// proxyLabels returns the names of the labels that the proxy writes: every text of proxy/stats that could be one.
func proxyLabels(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("../../proxy/stats/*.go")
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		code, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range regexp.MustCompile(`"([a-z][a-z0-9_]*)"|\b([a-z][a-z0-9_]*)="`).FindAllSubmatch(code, -1) {
			names[string(found[1])+string(found[2])] = true
		}
	}
	for _, name := range []string{"client_id", "server_id", "authz_kind", "target_port", "tls", "classification",
		"direction", "srv_name", "overflow", "peer", "dst_pod", "le"} {
		if !names[name] {
			t.Errorf("proxy/stats no longer has the label %s, or the test does not find it", name)
		}
	}
	return slices.Sorted(maps.Keys(names))
}

func prometheusRules(t *testing.T) []relabelling {
	t.Helper()
	c, err := newContext(Defaults(), Target{})
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		Jobs []struct {
			Name  string        `json:"job_name"`
			Rules []relabelling `json:"relabel_configs"`
		} `json:"scrape_configs"`
	}
	if err := yaml.Unmarshal([]byte(c.PrometheusConfig), &config); err != nil {
		t.Fatal(err)
	}
	for _, job := range config.Jobs {
		if job.Name == "linkerd-proxy" {
			return job.Rules
		}
	}
	t.Fatal("there is no job linkerd-proxy")
	return nil
}

// TestPrometheusIsBounded wants a bound of each job that no pod can pass, above that of a proxy, and no pod to say
// where Prometheus reads.
func TestPrometheusIsBounded(t *testing.T) {
	v := Defaults()
	c, err := newContext(v, Target{})
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		Jobs []struct {
			Name   string `json:"job_name"`
			Series int    `json:"sample_limit"`
			Bytes  string `json:"body_size_limit"`
			Labels int    `json:"label_limit"`
			Follow *bool  `json:"follow_redirects"`
		} `json:"scrape_configs"`
	}
	if err := yaml.Unmarshal([]byte(c.PrometheusConfig), &config); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	own := 0
	for _, bound := range regexp.MustCompile(`(\d+) series and \d+ MiB`).FindAllSubmatch(text, -1) {
		n, _ := strconv.Atoi(string(bound[1]))
		own += n
	}
	if own == 0 {
		t.Fatal("docs/metrics.md does not say how many series a proxy has")
	}
	for _, job := range config.Jobs {
		if job.Follow == nil || *job.Follow {
			t.Errorf("job %s follows redirects to wherever a pod says", job.Name)
		}
		if job.Name != "prometheus" && (job.Series <= own || job.Bytes == "") || job.Name == "linkerd-proxy" &&
			job.Labels == 0 {
			t.Errorf("job %s has the bounds %+v; a proxy has up to %d series", job.Name, job, own)
		}
	}
	if v.Prometheus.Resources.Memory.Limit == "" || v.Prometheus.Args["storage.tsdb.retention.size"] == "" {
		t.Error("memory or storage has no bound")
	}
}

// TestMonitorsFollowNoRedirect wants the same of the PodMonitors.
func TestMonitorsFollowNoRedirect(t *testing.T) {
	monitors := slices.Concat(dashboards.PodMonitors(Namespace, "tulle", nil),
		dashboards.ExtensionPodMonitor(Namespace, nil))
	for _, text := range install.Documents(monitors) {
		var monitor struct {
			Spec struct {
				Endpoints []struct {
					Follow *bool `json:"followRedirects"`
				} `json:"podMetricsEndpoints"`
			} `json:"spec"`
		}
		if err := yaml.Unmarshal([]byte(text), &monitor); err != nil {
			t.Fatal(err)
		}
		for _, e := range monitor.Spec.Endpoints {
			if e.Follow == nil || *e.Follow {
				t.Errorf("follows redirects:\n%s", text)
			}
		}
		if len(monitor.Spec.Endpoints) == 0 {
			t.Errorf("no endpoint:\n%s", text)
		}
	}
}

func monitorRules(t *testing.T) []relabelling {
	t.Helper()
	var monitor struct {
		Spec struct {
			Endpoints []struct {
				Rules json.RawMessage `json:"relabelings"`
			} `json:"podMetricsEndpoints"`
		} `json:"spec"`
	}
	text := install.Documents(dashboards.PodMonitors(Namespace, "tulle", nil))[0]
	text = strings.NewReplacer("sourceLabels", "source_labels", "targetLabel", "target_label").Replace(text)
	var rules []relabelling
	if err := yaml.Unmarshal([]byte(text), &monitor); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(monitor.Spec.Endpoints[0].Rules, &rules); err != nil {
		t.Fatal(err)
	}
	return rules
}

// relabel returns the labels of a target that come from labels of its pod, as Prometheus's rules make them.
func relabel(t *testing.T, rules []relabelling, pod map[string]string) map[string]string {
	t.Helper()
	labels := map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(pod)) {
		labels[metaLabel+regexp.MustCompile(`[^A-Za-z0-9_]`).ReplaceAllString(key, "_")] = pod[key]
	}
	// Prometheus has one label for all spellings: the injector's counts here.
	for _, key := range slices.Sorted(maps.Keys(pod)) {
		if strings.HasPrefix(pod[key], "of ") {
			labels[metaLabel+regexp.MustCompile(`[^A-Za-z0-9_]`).ReplaceAllString(key, "_")] = pod[key]
		}
	}
	for _, rule := range rules {
		switch rule.Action {
		case "keep", "drop":
		case "", "replace":
			if len(rule.Sources) == 1 && strings.HasPrefix(rule.Sources[0], metaLabel) {
				labels[rule.Target] = labels[rule.Sources[0]]
			}
		case "labelmap":
			from := regexp.MustCompile("^(?:" + rule.Regex + ")$")
			for name, value := range maps.Clone(labels) {
				if from.MatchString(name) {
					labels[from.ReplaceAllString(name, "$1")] = value
				}
			}
		default:
			t.Fatalf("the test does not know the action %s", rule.Action)
		}
	}
	maps.DeleteFunc(labels, func(name, _ string) bool { return strings.HasPrefix(name, "__") })
	return labels
}
