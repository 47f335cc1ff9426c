package install

import (
	"bytes"
	"fmt"
	"strings"

	"sigs.k8s.io/yaml"
)

// RenderCRDs returns what has to be applied before Render's output on a bare cluster. This release has no kinds of its own, and
// kubectl refuses to apply nothing, so it is the control plane's namespace.
func RenderCRDs(t Target) ([]byte, error) {
	c, err := newContext(Defaults(), t)
	if err != nil {
		return nil, err
	}
	tmpl, err := parseManifests()
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := tmpl.ExecuteTemplate(&out, "namespace.yaml", c); err != nil {
		return nil, fmt.Errorf("render namespace.yaml: %w", err)
	}
	return out.Bytes(), nil
}

// Documents splits a YAML stream of Render into its documents.
func Documents(stream []byte) []string {
	var docs []string
	for doc := range strings.SplitSeq("\n"+string(stream), "\n---\n") {
		if strings.TrimSpace(doc) != "" {
			docs = append(docs, strings.TrimPrefix(doc, "\n")+"\n")
		}
	}
	return docs
}

// JSON returns a YAML stream of Render as a stream of JSON objects, one a line.
func JSON(stream []byte) ([]byte, error) {
	var out bytes.Buffer
	for _, doc := range Documents(stream) {
		data, err := yaml.YAMLToJSON([]byte(doc))
		if err != nil {
			return nil, fmt.Errorf("encode as JSON: %w", err)
		}
		out.Write(append(data, '\n'))
	}
	return out.Bytes(), nil
}
