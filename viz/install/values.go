// Package install renders the manifests of the viz extension.
//
// It owns the values that an installation of the extension may change, and the manifest templates. values.yaml is the
// schema of the values, with defaults and documentation. It must not import client-go or read a cluster. The one idea:
// Render is a pure function of Values, as in package install of the control plane. Its output is always the same bytes,
// and has no secrets: credentials are named, and stay in a Secret of the user.
package install

import (
	"cmp"
	_ "embed"
	"fmt"

	"sigs.k8s.io/yaml"

	"github.com/tulle-mesh/tulle/install"
	"github.com/tulle-mesh/tulle/install/values"
)

//go:embed values.yaml
var defaultValues []byte

//go:embed values-ha.yaml
var haValues []byte

// Values configures the extension. values.yaml documents all keys; Overrides builds a Values.
type Values struct {
	Version          string                  `json:"linkerdVersion"`
	PullPolicy       string                  `json:"defaultImagePullPolicy"`
	ImagePullSecrets []install.LocalObjectID `json:"imagePullSecrets"`
	ClusterDomain    string                  `json:"clusterDomain"`
	// IdentityTrustDomain may be empty; TrustDomain returns what holds.
	IdentityTrustDomain string `json:"identityTrustDomain"`
	LogLevel            string `json:"defaultLogLevel"`
	LogFormat           string `json:"defaultLogFormat"`
	DefaultUID          int64  `json:"defaultUID"`
	DefaultGID          int64  `json:"defaultGID"`

	PodAnnotations            map[string]string    `json:"podAnnotations"`
	PodLabels                 map[string]string    `json:"podLabels"`
	NodeSelector              map[string]string    `json:"nodeSelector"`
	Tolerations               []install.Toleration `json:"tolerations"`
	EnablePodAntiAffinity     bool                 `json:"enablePodAntiAffinity"`
	EnablePodDisruptionBudget bool                 `json:"enablePodDisruptionBudget"`

	PrometheusURL    string           `json:"prometheusUrl"`
	PrometheusJobs   []string         `json:"prometheusJobs"`
	PrometheusSecret PrometheusSecret `json:"prometheusSecret"`

	MetricsAPI MetricsAPI `json:"metricsAPI"`
	Tap        Tap        `json:"tap"`
	Web        Web        `json:"web"`
	Prometheus Prometheus `json:"prometheus"`

	PolicyWarnings PolicyWarnings `json:"policyWarnings"`

	PodMonitor     Monitoring `json:"podMonitor"`
	PrometheusRule Monitoring `json:"prometheusRule"`
	Grafana        Grafana    `json:"grafana"`
}

// TrustDomain returns the trust domain of the mesh.
func (v *Values) TrustDomain() string { return cmp.Or(v.IdentityTrustDomain, v.ClusterDomain) }

// PolicyWarnings says whether metrics-api serves the admission webhook that warns of policies.
type PolicyWarnings struct {
	Enabled bool `json:"enabled"`
}

// Monitoring says whether objects of the Prometheus Operator are printed, and the labels by which it selects them.
type Monitoring struct {
	Enabled bool              `json:"enabled"`
	Labels  map[string]string `json:"labels"`
}

// Grafana says whether ConfigMaps with dashboards are printed, and where browsers reach Grafana.
type Grafana struct {
	ExternalURL string `json:"externalUrl"`
	Dashboards  struct {
		Enabled bool `json:"enabled"`
	} `json:"dashboards"`
}

// PrometheusSecret names the credentials for the user's own Prometheus.
type PrometheusSecret struct {
	Name     string `json:"name"`
	TokenKey string `json:"tokenKey"`
	CAKey    string `json:"caKey"`
}

// Image is a container's image.
type Image struct {
	Registry   string `json:"registry"`
	Name       string `json:"name"`
	Tag        string `json:"tag"`
	PullPolicy string `json:"pullPolicy"`
}

// Tap configures the deployment tap.
type Tap struct {
	Enabled   bool              `json:"enabled"`
	Image     Image             `json:"image"`
	Replicas  int               `json:"replicas"`
	LogLevel  string            `json:"logLevel"`
	Resources install.Resources `json:"resources"`
}

// Web configures the deployment web.
type Web struct {
	Enabled     bool   `json:"enabled"`
	ExternalURL string `json:"externalUrl"`
	// Clients are the ServiceAccounts that may connect, as namespace/name.
	Clients       []string          `json:"clients"`
	Impersonation Impersonation     `json:"impersonation"`
	TraceURL      string            `json:"traceUrl"`
	Image         Image             `json:"image"`
	Replicas      int               `json:"replicas"`
	LogLevel      string            `json:"logLevel"`
	Resources     install.Resources `json:"resources"`
}

// Impersonation says whose headers name the viewers of the dashboard.
type Impersonation struct {
	Client       string   `json:"client"`
	UserHeader   string   `json:"userHeader"`
	GroupsHeader string   `json:"groupsHeader"`
	Groups       []string `json:"groups"`
}

// MetricsAPI configures the deployment metrics-api.
type MetricsAPI struct {
	Image     Image             `json:"image"`
	Replicas  int               `json:"replicas"`
	LogLevel  string            `json:"logLevel"`
	Resources install.Resources `json:"resources"`
}

// Prometheus configures the extension's own Prometheus.
type Prometheus struct {
	Enabled      bool              `json:"enabled"`
	Image        Image             `json:"image"`
	LogLevel     string            `json:"logLevel"`
	GlobalConfig GlobalConfig      `json:"globalConfig"`
	Args         map[string]string `json:"args"`
	Resources    install.Resources `json:"resources"`
}

// GlobalConfig is how often Prometheus reads proxies and evaluates rules.
type GlobalConfig struct {
	ScrapeInterval     string `json:"scrape_interval"`
	ScrapeTimeout      string `json:"scrape_timeout"`
	EvaluationInterval string `json:"evaluation_interval"`
}

// Defaults returns the values of a plain `tulle viz install`.
func Defaults() Values {
	var v Values
	if err := yaml.UnmarshalStrict(defaultValues, &v); err != nil {
		panic(fmt.Sprintf("viz/install: values.yaml does not fit Values: %v", err))
	}
	return v
}

// schema is that of the extension's values.
var schema = &values.Schema{
	Defaults: defaultValues, HA: haValues,
	Open: []string{"nodeSelector", "podAnnotations", "podLabels", "podMonitor.labels", "prometheus.args",
		"prometheusRule.labels"},
	Ignored: linkerdOnly, Documented: "docs/cli.md#values-of-viz-install",
	New: func() any { return new(Values) },
}

// Overrides collects changes to the default values. A later one wins over an earlier one.
type Overrides struct{ *values.Overrides }

// NewOverrides returns overrides that change nothing yet.
func NewOverrides() *Overrides { return &Overrides{values.New(schema)} }

// Values returns the defaults with all overrides applied, and warnings about keys that have no effect here. It does not
// validate the values.
func (o *Overrides) Values() (Values, []string, error) {
	v := Defaults()
	warnings, err := o.Apply(&v)
	return v, warnings, err
}

// ReadValues reads the values that an installation was rendered with, from its ConfigMap.
func ReadValues(installed string) (Values, error) {
	v := Defaults()
	if err := yaml.Unmarshal([]byte(installed), &v); err != nil {
		return v, fmt.Errorf("read ConfigMap %s: %w", ConfigMap, err)
	}
	return v, nil
}
