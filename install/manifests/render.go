// Package manifests renders the manifests of an installation from the chart in install/chart.
//
// It owns how the chart becomes a YAML stream: the order of the documents, and the version and namespace that the chart
// gets. It renders with Helm's own template engine, so `helm template` gives the same objects. It must not read a
// cluster. The one idea: Render is a pure function of the values. Its output is always the same bytes, and has no
// secrets unless the user set them.
package manifests

import (
	"bytes"
	"fmt"
	"io/fs"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common"
	helm "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/engine"
	"sigs.k8s.io/yaml"

	"github.com/tulle-mesh/tulle/install"
	"github.com/tulle-mesh/tulle/install/chart"
)

// order lists the templates of the control plane in the order in which their objects must be applied: the webhook is
// the last, so that no pod reaches the injector before everything that it needs was applied.
var order = []string{
	"namespace", "config", "credentials", "identity-rbac", "destination-rbac", "injector-rbac", "required-policy",
	"policy-rules", "identity", "destination", "proxy-injector", "webhook",
}

// Render returns the manifests of the control plane as a YAML stream, in the order in which they must be applied. The
// same arguments give the same bytes. If Validate refuses the values, the manifests may not apply.
func Render(v install.Values, t install.Target) ([]byte, error) {
	rendered, err := execute(v, t)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	for _, name := range order {
		if text := strings.Trim(rendered[name], "\n"); text != "" {
			out.WriteString("---\n" + strings.TrimPrefix(text, "---\n") + "\n")
		}
	}
	return out.Bytes(), nil
}

// execute returns what the templates give, by name. The definitions are not among them: the CLI prints only those that
// a cluster lacks.
func execute(v install.Values, t install.Target) (map[string]string, error) {
	t, err := t.WithDefaults()
	if err != nil {
		return nil, err
	}
	values, err := v.Tree()
	if err != nil {
		return nil, err
	}
	c, err := load()
	if err != nil {
		return nil, err
	}
	c.Metadata.AppVersion = t.Version
	texts, err := engine.Render(c, common.Values{
		"Values":       values,
		"Capabilities": common.DefaultCapabilities,
		// Helm writes its own name as the service. By it the chart knows that Helm makes the namespace.
		"Release": map[string]any{"Name": c.Metadata.Name, "Namespace": t.Namespace, "Service": "tulle", "Revision": 1,
			"IsInstall": true, "IsUpgrade": false},
	})
	if err != nil {
		return nil, fmt.Errorf("render the chart: %w", err)
	}
	out := map[string]string{}
	for _, name := range order {
		out[name] = texts[c.Metadata.Name+"/templates/"+name+".yaml"]
	}
	return out, nil
}

// load returns the chart with the templates of the control plane and the parts that they share.
func load() (*helm.Chart, error) {
	metadata, err := chart.Files.ReadFile("Chart.yaml")
	if err != nil {
		return nil, fmt.Errorf("read the chart: %w", err)
	}
	c := &helm.Chart{Metadata: &helm.Metadata{}}
	if err := yaml.UnmarshalStrict(metadata, c.Metadata); err != nil {
		return nil, fmt.Errorf("decode Chart.yaml: %w", err)
	}
	files, err := fs.Glob(chart.Files, "templates/_*.tpl")
	if err != nil {
		return nil, fmt.Errorf("list the chart's files: %w", err)
	}
	for _, name := range order {
		files = append(files, "templates/"+name+".yaml")
	}
	for _, file := range files {
		data, err := chart.Files.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("read the chart: %w", err)
		}
		c.Templates = append(c.Templates, &common.File{Name: file, Data: data})
	}
	return c, nil
}
