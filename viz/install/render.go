package install

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"text/template"

	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"

	"github.com/tulle-mesh/tulle/install"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/viz/dashboards"
)

//go:embed manifests
var manifests embed.FS

//go:embed prometheus.yml
var prometheusConfig string

// Names of the extension's objects.
const (
	Namespace      = mesh.VizNamespace
	ExtensionLabel = mesh.ExtensionLabel
	Extension      = mesh.VizExtension
	ConfigMap      = "tulle-viz-config"

	MetricsAPIName = mesh.MetricsAPIName
	TapName        = mesh.TapName
	WebName        = mesh.WebName
	PrometheusName = "prometheus"
)

// PrometheusPort is that of the extension's Prometheus.
const PrometheusPort = 9090

// Target is where the extension is installed, and for which control plane.
type Target struct {
	// Namespace is the extension's, ControlNamespace the control plane's; "" means Namespace and
	// mesh.ControlPlaneNamespace.
	Namespace, ControlNamespace string
	// Version is that of the CLI, and of the extension's own image unless the values set another one.
	Version string
}

// withDefaults returns the target with its namespaces, or an error for one that cannot be.
func (t Target) withDefaults() (Target, error) {
	t.Namespace = cmp.Or(t.Namespace, Namespace)
	t.ControlNamespace = cmp.Or(t.ControlNamespace, mesh.ControlPlaneNamespace)
	for what, name := range map[string]string{"extension": t.Namespace, "control plane": t.ControlNamespace} {
		if problems := validation.IsDNS1123Label(name); problems != nil {
			return t, fmt.Errorf("namespace of the %s %q: %s", what, name, strings.Join(problems, "; "))
		}
	}
	if t.Namespace == t.ControlNamespace {
		return t, fmt.Errorf("namespace %s: the extension needs one of its own, whose pods get proxies", t.Namespace)
	}
	return t, nil
}

// context is the data of the templates.
type context struct {
	Values
	Namespace, ControlNamespace string
	CLIVersion                  string
	PrometheusConfig            string
	InstallValues               string // YAML for the ConfigMap
}

// component is what differs between the deployments. The template deployment.yaml has everything else.
type component struct {
	*context
	Name              string
	Image             Image
	Replicas          int
	Spread            bool // over nodes and zones
	Args              []string
	PortName          string
	Port, AdminPort   int
	ServicePort       int
	Live, Ready       string // paths
	ProbePort         string
	SkipOutboundPorts string
	SkipInboundPorts  string // "" for none
	Webhook           int    // port of a webhook for the API server; 0 for none
	Checksum          string // of the configuration that the pod reads when it starts
	Resources         install.Resources
	Volumes           []volume
}

// volume is one of a pod, mounted at Path: of a Secret, a ConfigMap, a token for the audience Token, or its own.
type volume struct {
	Name, Path        string
	Secret, ConfigMap string
	Token             string
	EmptyDir          bool
}

// Render returns the manifests of the extension as a YAML stream, in the order in which they must be applied. The same
// arguments give the same bytes. If Validate refuses the values, the manifests may not apply.
func Render(v Values, t Target) ([]byte, error) {
	c, err := newContext(v, t)
	if err != nil {
		return nil, err
	}
	out, err := install.NewStream(manifests)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"namespace.yaml", "config.yaml"} {
		if err := out.Add(name, c); err != nil {
			return nil, err
		}
	}
	for _, part := range c.components() {
		for _, name := range []string{"-rbac.yaml", "-policy.yaml"} {
			if err := out.Add(part.Name+name, part); err != nil {
				return nil, err
			}
		}
	}
	if v.Prometheus.Enabled {
		if err := out.Add("prometheus-config.yaml", c); err != nil {
			return nil, err
		}
	}
	for _, part := range c.components() {
		if err := out.Add("deployment.yaml", part); err != nil {
			return nil, err
		}
	}
	if v.Tap.Enabled {
		if err := out.Add("tap-apiservice.yaml", c); err != nil {
			return nil, err
		}
	}
	if c.PolicyWarnings.Enabled {
		if err := out.Add("policy-warnings-webhook.yaml", c); err != nil {
			return nil, err
		}
	}
	return append(out.Bytes(), c.monitoring()...), nil
}

// monitoring returns the objects for a Prometheus Operator and a Grafana that the cluster has.
func (c *context) monitoring() (out []byte) {
	if c.PodMonitor.Enabled {
		out = append(out, dashboards.PodMonitors(c.Namespace, c.ControlNamespace, c.PodMonitor.Labels)...)
		if !c.Prometheus.Enabled { // otherwise the policies let only the extension's own Prometheus in
			out = append(out, dashboards.ExtensionPodMonitor(c.Namespace, c.PodMonitor.Labels)...)
		}
	}
	var queries []byte
	if c.PrometheusRule.Enabled {
		queries = append(queries, dashboards.PrometheusRule(c.Namespace, c.PrometheusRule.Labels)...)
	}
	if c.Grafana.Dashboards.Enabled {
		queries = append(queries, dashboards.ConfigMaps(c.Namespace)...)
	}
	if c.PrometheusURL != "" {
		queries = dashboards.ForJobs(queries, c.PrometheusJobs)
	}
	return append(out, queries...)
}

func newContext(v Values, t Target) (*context, error) {
	t, err := t.withDefaults()
	if err != nil {
		return nil, err
	}
	values, err := yaml.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode values: %w", err)
	}
	c := &context{Values: v, Namespace: t.Namespace, ControlNamespace: t.ControlNamespace, CLIVersion: t.Version,
		InstallValues: string(values)}
	// Without a Prometheus nobody has the numbers of the last hour.
	c.PolicyWarnings.Enabled = v.PolicyWarnings.Enabled && (v.Prometheus.Enabled || v.PrometheusURL != "")
	c.MetricsAPI.Image.Tag = cmp.Or(c.MetricsAPI.Image.Tag, v.Version, t.Version)
	c.MetricsAPI.Image.PullPolicy = cmp.Or(c.MetricsAPI.Image.PullPolicy, v.PullPolicy)
	c.Tap.Image.Tag = cmp.Or(c.Tap.Image.Tag, v.Version, t.Version)
	c.Tap.Image.PullPolicy = cmp.Or(c.Tap.Image.PullPolicy, v.PullPolicy)
	c.Web.Image.Tag = cmp.Or(c.Web.Image.Tag, v.Version, t.Version)
	c.Web.Image.PullPolicy = cmp.Or(c.Web.Image.PullPolicy, v.PullPolicy)
	c.Prometheus.Image.PullPolicy = cmp.Or(c.Prometheus.Image.PullPolicy, v.PullPolicy)
	config, err := template.New("prometheus.yml").Parse(prometheusConfig)
	if err != nil {
		return nil, fmt.Errorf("parse configuration of Prometheus: %w", err)
	}
	var text bytes.Buffer
	if err := config.Execute(&text, c); err != nil {
		return nil, fmt.Errorf("render configuration of Prometheus: %w", err)
	}
	c.PrometheusConfig = text.String()
	return c, nil
}

func (c *context) components() []component {
	skip := strconv.Itoa(mesh.AdminPort)
	parts := []component{{
		context: c, Name: MetricsAPIName, Image: c.MetricsAPI.Image, Replicas: c.MetricsAPI.Replicas,
		Spread: c.EnablePodAntiAffinity, Args: c.metricsAPIArgs(), PortName: "http", Port: mesh.MetricsAPIPort,
		ServicePort: mesh.MetricsAPIPort, AdminPort: mesh.MetricsAPIAdminPort,
		Live: "/live", Ready: "/ready", ProbePort: "admin", SkipOutboundPorts: skip,
		Resources: c.MetricsAPI.Resources, Volumes: c.secretVolumes(),
	}}
	if c.PolicyWarnings.Enabled { // the API server has no proxy
		parts[0].Webhook, parts[0].SkipInboundPorts = mesh.PolicyWarningsPort, strconv.Itoa(mesh.PolicyWarningsPort)
	}
	if c.Tap.Enabled {
		parts = append(parts, c.tap())
	}
	if c.Web.Enabled {
		parts = append(parts, c.web())
	}
	if !c.Prometheus.Enabled {
		return parts
	}
	sum := sha256.Sum256([]byte(c.PrometheusConfig))
	return append(parts, component{
		context: c, Name: PrometheusName, Image: c.Prometheus.Image, Replicas: 1, Args: c.prometheusArgs(),
		PortName: "http", Port: PrometheusPort, ServicePort: PrometheusPort, Live: "/-/healthy", Ready: "/-/ready",
		ProbePort: "http", SkipOutboundPorts: skip,
		Checksum: hex.EncodeToString(sum[:8]), Resources: c.Prometheus.Resources,
		Volumes: []volume{
			{Name: "config", Path: "/etc/prometheus", ConfigMap: "prometheus-config"},
			{Name: "data", Path: "/data", EmptyDir: true},
		},
	})
}

// tap describes the tap server. Its own certificate, not its sidecar's, is what proxies accept, so it needs what a
// proxy needs: a token and the trust anchors. Its connections to proxies are mesh TLS already, so its sidecar leaves
// them alone. It bounds the connections of an address, so the sidecar leaves those of its clients alone too.
func (c *context) tap() component {
	return component{
		context: c, Name: TapName, Image: c.Tap.Image, Replicas: c.Tap.Replicas, Spread: c.EnablePodAntiAffinity,
		Args: []string{
			"tap",
			fmt.Sprintf("--addr=:%d", mesh.TapPort),
			fmt.Sprintf("--admin-addr=:%d", mesh.TapAdminPort),
			"--namespace=" + c.Namespace,
			"--controller-namespace=" + c.ControlNamespace,
			"--cluster-domain=" + c.ClusterDomain,
			"--trust-domain=" + c.TrustDomain(),
			"--log-level=" + cmp.Or(c.Tap.LogLevel, c.LogLevel),
			"--log-format=" + c.LogFormat,
		},
		PortName: "https", Port: mesh.TapPort, ServicePort: 443, AdminPort: mesh.TapAdminPort,
		Live: "/live", Ready: "/ready", ProbePort: "admin", SkipOutboundPorts: strconv.Itoa(mesh.ControlPort),
		SkipInboundPorts: strconv.Itoa(mesh.TapPort),
		Resources:        c.Tap.Resources,
		Volumes: []volume{
			{Name: "tap-token", Path: path.Dir(mesh.TokenFile), Token: mesh.TokenAudience},
			{Name: "tap-trust-roots", Path: mesh.TrustRootsDir, ConfigMap: mesh.TrustRootsConfigMap},
		},
	}
}

// web describes the server of the dashboard.
func (c *context) web() component {
	args := []string{
		"web",
		fmt.Sprintf("--addr=:%d", mesh.WebPort),
		fmt.Sprintf("--admin-addr=:%d", mesh.WebAdminPort),
		"--namespace=" + c.Namespace,
		"--controller-namespace=" + c.ControlNamespace,
		"--cluster-domain=" + c.ClusterDomain,
		"--trust-domain=" + c.TrustDomain(),
		"--external-url=" + c.Web.ExternalURL,
		"--log-level=" + cmp.Or(c.Web.LogLevel, c.LogLevel),
		"--log-format=" + c.LogFormat,
	}
	if url := c.Grafana.ExternalURL; url != "" {
		args = append(args, "--grafana-url="+url)
	}
	if url := c.Web.TraceURL; url != "" {
		args = append(args, "--trace-url="+url)
	}
	if i := c.Web.Impersonation; i.Client != "" {
		args = append(args, "--impersonation-client="+i.Client, "--impersonation-user-header="+i.UserHeader,
			"--impersonation-groups-header="+i.GroupsHeader)
		if len(i.Groups) > 0 {
			args = append(args, "--impersonation-groups="+strings.Join(i.Groups, ","))
		}
	}
	return component{
		context: c, Name: WebName, Image: c.Web.Image, Replicas: c.Web.Replicas, Spread: c.EnablePodAntiAffinity,
		Args: args, PortName: "http", Port: mesh.WebPort, ServicePort: mesh.WebPort, AdminPort: mesh.WebAdminPort,
		Live: "/live", Ready: "/ready", ProbePort: "admin", SkipOutboundPorts: strconv.Itoa(mesh.AdminPort),
		Resources: c.Web.Resources,
	}
}

// WebClients returns the ServiceAccounts that may reach the dashboard, each as its namespace and its name. The values
// must be valid.
func (c *context) WebClients() (out [][2]string) {
	clients := slices.Clone(c.Web.Clients)
	if client := c.Web.Impersonation.Client; client != "" && !slices.Contains(clients, client) {
		clients = append(clients, client)
	}
	for _, client := range clients {
		namespace, name, _ := strings.Cut(client, "/")
		out = append(out, [2]string{namespace, name})
	}
	return out
}

// secretDir is where metrics-api finds the credentials for the user's own Prometheus.
const secretDir = "/var/run/tulle/prometheus"

func (c *context) metricsAPIArgs() []string {
	args := []string{
		"metrics-api",
		fmt.Sprintf("--addr=:%d", mesh.MetricsAPIPort),
		fmt.Sprintf("--admin-addr=:%d", mesh.MetricsAPIAdminPort),
		"--controller-namespace=" + c.ControlNamespace,
		"--log-level=" + cmp.Or(c.MetricsAPI.LogLevel, c.LogLevel),
		"--log-format=" + c.LogFormat,
	}
	switch {
	case c.PrometheusURL != "":
		args = append(args, "--prometheus-url="+c.PrometheusURL, "--prometheus-jobs="+strings.Join(c.PrometheusJobs, ","))
	case c.Prometheus.Enabled:
		args = append(args, fmt.Sprintf("--prometheus-url=http://%s.%s.svc:%d", PrometheusName, c.Namespace, PrometheusPort))
	}
	if c.PolicyWarnings.Enabled {
		args = append(args, "--policy-warnings", "--namespace="+c.Namespace)
	}
	if key := c.PrometheusSecret.TokenKey; key != "" {
		args = append(args, "--prometheus-bearer-token-file="+secretDir+"/"+key)
	}
	if key := c.PrometheusSecret.CAKey; key != "" {
		args = append(args, "--prometheus-ca-file="+secretDir+"/"+key)
	}
	return args
}

func (c *context) secretVolumes() []volume {
	if c.PrometheusSecret.Name == "" {
		return nil
	}
	return []volume{{Name: "prometheus-credentials", Path: secretDir, Secret: c.PrometheusSecret.Name}}
}

func (c *context) prometheusArgs() []string {
	format := map[string]string{"plain": "logfmt"}
	args := []string{
		"--config.file=/etc/prometheus/prometheus.yml",
		"--storage.tsdb.path=/data",
		fmt.Sprintf("--web.listen-address=:%d", PrometheusPort),
		"--log.level=" + cmp.Or(c.Prometheus.LogLevel, c.LogLevel),
		"--log.format=" + cmp.Or(format[c.LogFormat], c.LogFormat),
	}
	for _, name := range slices.Sorted(maps.Keys(c.Prometheus.Args)) {
		arg := "--" + name
		if value := c.Prometheus.Args[name]; value != "" {
			arg += "=" + value
		}
		args = append(args, arg)
	}
	return args
}
