// Package dashboards holds the dashboards for Grafana and the alerts for Prometheus, and prints them as Kubernetes
// objects: ConfigMaps that Grafana's sidecar loads, and a PrometheusRule and PodMonitors for the Prometheus Operator.
// The same arguments give the same bytes.
package dashboards

import (
	"bytes"
	"embed"
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strings"
)

//go:generate go run ./generate

//go:embed *.json
var boards embed.FS

//go:embed alerts.yaml
var alerts []byte

//go:embed podmonitors.yaml
var podMonitors string

//go:embed podmonitor-viz.yaml
var vizPodMonitor string

// createdBy is on each object.
const createdBy = "linkerd.io/created-by: tulle/viz"

// Names returns the file names of the dashboards, in order.
func Names() []string {
	entries, err := fs.ReadDir(boards, ".")
	if err != nil {
		panic(err) // the files are part of the program
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// JSON returns the dashboard of that file name, for Grafana's import.
func JSON(name string) ([]byte, error) { return boards.ReadFile(name) }

// Rules returns the alerts as a rule file for Prometheus.
func Rules() []byte { return bytes.Clone(alerts) }

// ConfigMaps returns YAML: a ConfigMap for each dashboard, with the label that Grafana's sidecar looks for.
func ConfigMaps(namespace string) []byte {
	var out bytes.Buffer
	for _, name := range Names() {
		data, err := boards.ReadFile(name)
		if err != nil {
			panic(err) // the files are part of the program
		}
		fmt.Fprintf(&out, `---
apiVersion: v1
kind: ConfigMap
metadata:
  name: tulle-dashboard-%s
  namespace: %s
  labels:
    grafana_dashboard: "1"
    linkerd.io/extension: viz
  annotations:
    %s
    grafana_folder: Tulle
data:
  %s: |
%s`, strings.TrimSuffix(name, ".json"), namespace, createdBy, name, indent(data, 4))
	}
	return out.Bytes()
}

// PrometheusRule returns YAML: the alerts as an object of the Prometheus Operator, which selects it by labels.
func PrometheusRule(namespace string, labels map[string]string) []byte {
	return fmt.Appendf(nil, `---
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: tulle-alerts
  namespace: %s
  labels:
    linkerd.io/extension: viz%s
  annotations:
    %s
spec:
%s`, namespace, more(labels), createdBy, indent(alerts, 2))
}

// ForJobs returns rules or dashboards whose queries ask for jobs, with which a Prometheus reads proxies, in place of
// linkerd-proxy. In the names of jobs, a character that means something in PromQL, YAML or JSON stands for any one.
func ForJobs(text []byte, jobs []string) []byte {
	if slices.Equal(jobs, []string{"linkerd-proxy"}) {
		return text
	}
	var names []string
	for _, job := range jobs {
		names = append(names, regexp.MustCompile(`[^\pL\pN_/-]`).ReplaceAllString(job, "."))
	}
	matcher := strings.Join(names, "|")
	return []byte(strings.NewReplacer(
		`job="linkerd-proxy"`, `job=~"`+matcher+`"`, `job=\"linkerd-proxy\"`, `job=~\"`+matcher+`\"`,
	).Replace(string(text)))
}

// PodMonitors returns YAML: what makes the Prometheus Operator scrape the proxies of the control plane in namespace
// controlPlane, and that control plane itself. The objects are in namespace; the operator selects them by labels.
func PodMonitors(namespace, controlPlane string, labels map[string]string) []byte {
	return fill(podMonitors, namespace, controlPlane, labels)
}

// ExtensionPodMonitor returns YAML: what makes the Prometheus Operator scrape the extension itself, which is in
// namespace.
func ExtensionPodMonitor(namespace string, labels map[string]string) []byte {
	return fill(vizPodMonitor, namespace, "", labels)
}

// fill replaces the placeholders of a PodMonitor.
func fill(text, namespace, controlPlane string, labels map[string]string) []byte {
	return []byte(strings.NewReplacer(
		"NAMESPACE", namespace, "CONTROL_PLANE", controlPlane, "CREATED_BY", createdBy,
		"linkerd.io/extension: viz", "linkerd.io/extension: viz"+more(labels),
	).Replace(text))
}

// more returns labels as further lines of metadata.labels.
func more(labels map[string]string) string {
	var out strings.Builder
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		fmt.Fprintf(&out, "\n    %q: %q", key, labels[key])
	}
	return out.String()
}

// indent moves each line that is not empty to the right.
func indent(text []byte, by int) []byte {
	var out bytes.Buffer
	for line := range bytes.Lines(text) {
		if len(bytes.TrimSpace(line)) > 0 {
			out.WriteString(strings.Repeat(" ", by))
		}
		out.Write(line)
	}
	return out.Bytes()
}
