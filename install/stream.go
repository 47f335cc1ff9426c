package install

import (
	"bytes"
	"fmt"
	"strings"

	"sigs.k8s.io/yaml"
)

// Documents splits a YAML stream of Render or RenderCRDs into its documents.
func Documents(stream []byte) []string {
	var docs []string
	for doc := range strings.SplitSeq("\n"+string(stream), "\n---\n") {
		if strings.TrimSpace(doc) != "" {
			docs = append(docs, strings.TrimPrefix(doc, "\n")+"\n")
		}
	}
	return docs
}

// JSON converts such a stream to a stream of JSON objects, one on each line.
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
