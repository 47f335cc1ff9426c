package install

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/prometheus/common/model"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/tulle-mesh/tulle/install"
)

// Validate returns all mistakes in v that would otherwise show only in the cluster. They are joined, each with its key.
// The warnings are about values that contradict each other and still work.
func (v *Values) Validate() (warnings []string, err error) {
	pods := install.PodSettings{Labels: v.PodLabels, Annotations: v.PodAnnotations, NodeSelector: v.NodeSelector,
		Tolerations: v.Tolerations, ImagePullSecrets: v.ImagePullSecrets}
	if v.PrometheusURL != "" && v.Prometheus.Enabled {
		warnings = append(warnings, "prometheusUrl is set, so nothing asks the extension's own Prometheus: "+
			"prometheus.enabled=false leaves it out")
	}
	return warnings, errors.Join(pods.Check(), v.checkParts(), v.checkPrometheusURL(), v.checkPrometheus(), v.checkWeb(),
		checkLabels("podMonitor.labels", v.PodMonitor.Labels), checkLabels("prometheusRule.labels", v.PrometheusRule.Labels),
		install.CheckResources(map[string]install.Resources{
			"metricsAPI.resources": v.MetricsAPI.Resources, "tap.resources": v.Tap.Resources,
			"web.resources":        v.Web.Resources,
			"prometheus.resources": v.Prometheus.Resources,
		}))
}

func (v *Values) checkParts() error {
	var errs []error
	oneOf := func(key, got string, accepted ...string) {
		if !slices.Contains(accepted, got) {
			errs = append(errs, fmt.Errorf("%s %q: want %s", key, got, strings.Join(accepted, ", ")))
		}
	}
	levels := []string{"debug", "info", "warn", "error"}
	oneOf("defaultLogLevel", v.LogLevel, levels...)
	oneOf("defaultLogFormat", v.LogFormat, "plain", "json")
	oneOf("defaultImagePullPolicy", v.PullPolicy, "Always", "IfNotPresent", "Never")
	for _, part := range []struct {
		key, level string
		image      Image
	}{
		{"metricsAPI", v.MetricsAPI.LogLevel, v.MetricsAPI.Image},
		{"tap", v.Tap.LogLevel, v.Tap.Image},
		{"web", v.Web.LogLevel, v.Web.Image},
		{"prometheus", v.Prometheus.LogLevel, v.Prometheus.Image},
	} {
		if part.level != "" {
			oneOf(part.key+".logLevel", part.level, levels...)
		}
		if part.image.PullPolicy != "" {
			oneOf(part.key+".image.pullPolicy", part.image.PullPolicy, "Always", "IfNotPresent", "Never")
		}
		name := part.image.Registry + "/" + part.image.Name
		if part.image.Registry == "" || part.image.Name == "" || strings.ContainsFunc(name, unicode.IsSpace) {
			errs = append(errs, fmt.Errorf("%s.image %q: want a registry and a name without a tag", part.key, name))
		}
	}
	for key, n := range map[string]int{"metricsAPI.replicas": v.MetricsAPI.Replicas, "tap.replicas": v.Tap.Replicas,
		"web.replicas": v.Web.Replicas} {
		if n < 1 {
			errs = append(errs, fmt.Errorf("%s %d: want at least 1", key, n))
		}
	}
	for key, domain := range map[string]string{"clusterDomain": v.ClusterDomain,
		"identityTrustDomain": v.TrustDomain()} {
		if problems := validation.IsDNS1123Subdomain(domain); len(problems) > 0 {
			errs = append(errs, fmt.Errorf("%s %q: %s", key, domain, strings.Join(problems, "; ")))
		}
	}
	if v.DefaultUID < 1 {
		errs = append(errs, fmt.Errorf("defaultUID %d: want at least 1", v.DefaultUID))
	}
	return errors.Join(errs...)
}

func (v *Values) checkPrometheusURL() error {
	secret := v.PrometheusSecret
	if v.PrometheusURL == "" {
		if secret != (PrometheusSecret{}) {
			return errors.New("prometheusSecret: is for prometheusUrl, which is not set")
		}
		return nil
	}
	if len(v.PrometheusJobs) == 0 {
		return errors.New("prometheusJobs: want the job with which prometheusUrl reads proxies, such as linkerd-proxy")
	}
	for _, job := range v.PrometheusJobs {
		if job == "" || strings.ContainsAny(job, ",\"") || !utf8.ValidString(job) ||
			strings.ContainsFunc(job, unicode.IsControl) {
			return fmt.Errorf("prometheusJobs %q: want the name of a job, without commas and quotes", job)
		}
	}
	u, err := url.Parse(v.PrometheusURL)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("prometheusUrl %q: want a URL such as http://prometheus.monitoring.svc:9090", v.PrometheusURL)
	case u.User != nil:
		return errors.New("prometheusUrl: has a password, which everybody could read in the manifests: " +
			"use a bearer token in prometheusSecret")
	case secret == (PrometheusSecret{}):
		return nil
	case secret.Name == "" || secret.TokenKey == "" && secret.CAKey == "":
		return errors.New("prometheusSecret: want name, and tokenKey or caKey")
	}
	var errs []error
	if problems := validation.IsDNS1123Subdomain(secret.Name); len(problems) > 0 {
		errs = append(errs, fmt.Errorf("prometheusSecret.name %q: %s", secret.Name, strings.Join(problems, "; ")))
	}
	for name, key := range map[string]string{"tokenKey": secret.TokenKey, "caKey": secret.CAKey} {
		if problems := validation.IsConfigMapKey(key); key != "" && len(problems) > 0 {
			errs = append(errs, fmt.Errorf("prometheusSecret.%s %q: %s", name, key, strings.Join(problems, "; ")))
		}
	}
	return errors.Join(errs...)
}

// checkWeb checks where the dashboard is, and who may reach it.
func (v *Values) checkWeb() error {
	var errs []error
	for key, text := range map[string]string{"web.externalUrl": v.Web.ExternalURL, "web.traceUrl": v.Web.TraceURL,
		"grafana.externalUrl": v.Grafana.ExternalURL} {
		u, err := url.Parse(text)
		if text != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil) {
			errs = append(errs, fmt.Errorf("%s %q: want a URL such as https://dashboard.example.com", key, text))
		}
		if key == "web.externalUrl" && err == nil && (strings.Trim(u.Path, "/") != "" || u.RawQuery+u.Fragment != "") {
			errs = append(errs, fmt.Errorf("%s %q: want a URL without a path", key, text))
		}
	}
	i := v.Web.Impersonation
	clients := slices.Clone(v.Web.Clients)
	if i.Client != "" {
		clients = append(clients, i.Client)
	}
	for _, client := range clients {
		namespace, name, _ := strings.Cut(client, "/")
		if len(validation.IsDNS1123Label(namespace)) > 0 || len(validation.IsDNS1123Subdomain(name)) > 0 {
			errs = append(errs, fmt.Errorf("web.clients %q: want a ServiceAccount as namespace/name", client))
		}
	}
	switch {
	case !v.Web.Enabled:
	case v.Web.ExternalURL == "":
		errs = append(errs, errors.New("web.externalUrl: want where browsers reach the dashboard, such as "+
			"https://dashboard.example.com"))
	case len(clients) == 0:
		errs = append(errs, errors.New("web.clients: want the ServiceAccount of the ingress that passes requests on to the "+
			"dashboard, as namespace/name"))
	}
	for key, header := range map[string]string{"userHeader": i.UserHeader, "groupsHeader": i.GroupsHeader} {
		if len(validation.IsHTTPHeaderName(header)) > 0 {
			errs = append(errs, fmt.Errorf("web.impersonation.%s %q: want the name of a header", key, header))
		}
	}
	for _, group := range i.Groups {
		if group == "" || strings.HasPrefix(group, "system:") || strings.ContainsAny(group, ",\"") ||
			!utf8.ValidString(group) || strings.ContainsFunc(group, unicode.IsControl) {
			errs = append(errs, fmt.Errorf("web.impersonation.groups %q: want the name of a group of your identity provider, "+
				"without commas and quotes", group))
		}
	}
	return errors.Join(errs...)
}

// fixedArgs are the flags of Prometheus that the manifests set themselves.
var fixedArgs = []string{"config.file", "log.format", "log.level", "storage.tsdb.path", "web.listen-address"}

func (v *Values) checkPrometheus() error {
	var errs []error
	interval := func(key, text string) time.Duration {
		d, err := model.ParseDuration(text)
		if err != nil || d <= 0 {
			errs = append(errs, fmt.Errorf("prometheus.globalConfig.%s %q: want a duration such as 10s", key, text))
		}
		return time.Duration(d)
	}
	global := v.Prometheus.GlobalConfig
	every, timeout := interval("scrape_interval", global.ScrapeInterval), interval("scrape_timeout", global.ScrapeTimeout)
	interval("evaluation_interval", global.EvaluationInterval)
	if timeout > every {
		errs = append(errs, fmt.Errorf("prometheus.globalConfig.scrape_timeout %s: is longer than scrape_interval %s",
			global.ScrapeTimeout, global.ScrapeInterval))
	}
	for _, name := range slices.Sorted(maps.Keys(v.Prometheus.Args)) {
		if slices.Contains(fixedArgs, name) {
			errs = append(errs, fmt.Errorf("prometheus.args %q: the manifests set this themselves", name))
		}
		if name == "" || strings.ContainsFunc(name, func(r rune) bool { return unicode.IsSpace(r) || r == '=' }) {
			errs = append(errs, fmt.Errorf("prometheus.args %q: want the name of a flag", name))
		}
	}
	return errors.Join(errs...)
}

func checkLabels(key string, labels map[string]string) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		problems := append(validation.IsQualifiedName(name), validation.IsValidLabelValue(labels[name])...)
		if name == ExtensionLabel {
			problems = append(problems, "the manifests set this themselves")
		}
		if problems != nil {
			errs = append(errs, fmt.Errorf("%s.%s %q: %s", key, name, labels[name], strings.Join(problems, "; ")))
		}
	}
	return errors.Join(errs...)
}
