package install

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"strings"
	"text/template"

	"sigs.k8s.io/yaml"
)

// Stream is a YAML stream of manifests, made of templates.
type Stream struct {
	templates *template.Template
	out       bytes.Buffer
}

// NewStream parses the templates manifests/*.yaml of a file system. It gives them these functions: quote returns a YAML
// string, indent shifts all lines but the first, base64 and yaml encode.
func NewStream(files fs.FS) (*Stream, error) {
	templates, err := template.New("").Option("missingkey=error").Funcs(template.FuncMap{
		"quote":  quote,
		"indent": indent,
		"base64": func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
		"yaml": func(v any) (string, error) {
			data, err := yaml.Marshal(v)
			return string(data), err
		},
	}).ParseFS(files, "manifests/*.yaml")
	if err != nil {
		return nil, fmt.Errorf("parse manifests: %w", err)
	}
	return &Stream{templates: templates}, nil
}

// Add appends the documents that a template makes of data. There may be none.
func (s *Stream) Add(name string, data any) error {
	var doc bytes.Buffer
	if err := s.templates.ExecuteTemplate(&doc, name, data); err != nil {
		return fmt.Errorf("render %s: %w", name, err)
	}
	if text := strings.Trim(doc.String(), "\n"); text != "" {
		s.out.WriteString("---\n" + strings.TrimPrefix(text, "---\n") + "\n")
	}
	return nil
}

// Bytes returns the stream so far.
func (s *Stream) Bytes() []byte { return s.out.Bytes() }

// quote returns v as a JSON string, which is valid YAML.
func quote(v any) (string, error) {
	data, err := json.Marshal(v)
	return string(data), err
}

// indent shifts all lines of text but the first by n spaces. The template has placed the first.
func indent(n int, text string) string {
	return strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n"+strings.Repeat(" ", n))
}

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
