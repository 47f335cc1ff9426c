package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	yamlv3 "go.yaml.in/yaml/v3"
	"sigs.k8s.io/yaml"
)

// document is one YAML document of a manifest and where it stands, for messages.
type document struct {
	source string // file, URL or stdin
	number int    // from 1
	line   int    // of the document's first line in the source, from 1
	text   string
}

// splitDocuments cuts a manifest at the markers that begin a line: "---", which may be followed by content or a comment, and "...".
// Documents without content are left out. Text that is not UTF-8 is an error that names the line.
func splitDocuments(source string, data []byte) ([]document, error) {
	if err := checkText(source, data); err != nil {
		return nil, err
	}
	text := strings.TrimPrefix(string(data), byteOrderMark)
	var docs []document
	start, startLine := 0, 1 // of the current document
	flush := func(end int) {
		if content := text[start:end]; hasContent(content) {
			docs = append(docs, document{source: source, number: len(docs) + 1, line: startLine, text: content})
		}
	}
	offset, line := 0, 0
	for l := range strings.Lines(text) {
		begin := offset
		offset += len(l)
		line++
		rest, marker := strings.CutPrefix(l, "---")
		if !marker {
			rest, marker = strings.CutPrefix(l, "...")
		}
		if !marker || strings.Trim(rest[:min(1, len(rest))], " \t\r\n") != "" {
			continue
		}
		flush(begin)
		start, startLine = offset, line+1
		if content := strings.TrimSpace(rest); content != "" && content[0] != '#' {
			start, startLine = offset-len(rest), line
		}
	}
	flush(len(text))
	return docs, nil
}

const byteOrderMark = "\ufeff"

// checkText refuses what is not UTF-8: the YAML decoder would say so without a line, or take UTF-16 for one document.
func checkText(source string, data []byte) error {
	if bytes.HasPrefix(data, []byte{0xff, 0xfe}) || bytes.HasPrefix(data, []byte{0xfe, 0xff}) {
		return fmt.Errorf("%s: the text is UTF-16, as Windows writes it: save it as UTF-8", source)
	}
	line := 0
	for l := range bytes.Lines(data) {
		line++
		if !utf8.Valid(l) {
			return fmt.Errorf("%s: line %d: the text is not UTF-8", source, line)
		}
	}
	return nil
}

// hasContent reports whether there is more than comments and directives.
func hasContent(text string) bool {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' && line[0] != '%' {
			return true
		}
	}
	return false
}

// lineInError is how the YAML decoder says where it stopped.
var lineInError = regexp.MustCompile(`line (\d+): `)

// decode returns the document as a tree; numbers stay as they are written. A key that stands twice is an error: one of its values would
// be lost.
func (d document) decode() (map[string]any, error) {
	var tree map[string]any
	err := yaml.UnmarshalStrict([]byte(d.text), &tree, func(dec *json.Decoder) *json.Decoder { dec.UseNumber(); return dec })
	if err == nil {
		return tree, nil
	}
	line, message := 0, strings.TrimPrefix(err.Error(), "error converting YAML to JSON: ")
	if m := lineInError.FindStringSubmatch(message); m != nil {
		line, _ = strconv.Atoi(m[1])
		message = strings.Replace(message, m[0], "", 1)
	}
	if mismatch := (*json.UnmarshalTypeError)(nil); errors.As(err, &mismatch) {
		message = "not an object, but a " + mismatch.Value
		line = 1
	}
	return nil, d.errorAt(line, "", strings.TrimPrefix(message, "yaml: "))
}

// errorAt names the document, the line (from 1 in the document, 0 for unknown) and the field (may be "").
func (d document) errorAt(line int, field, message string) error {
	where := fmt.Sprintf("%s: document %d", d.source, d.number)
	if line > 0 {
		where += fmt.Sprintf(", line %d", d.line+line-1)
	}
	if field != "" {
		where += ": " + field
	}
	return fmt.Errorf("%s: %s", where, message)
}

// mismatch explains an error of decoding the part of the document below prefix into a Kubernetes type.
func (d document) mismatch(prefix string, err error) error {
	var wrong *json.UnmarshalTypeError
	if !errors.As(err, &wrong) {
		return d.errorAt(0, prefix, err.Error())
	}
	field := strings.TrimPrefix(prefix+"."+wrong.Field, ".")
	return d.errorAt(d.lineOf(field, wrong.Value), field, fmt.Sprintf("is a %s, want %s", wrong.Value, wrong.Type))
}

// lineOf returns the line of the first node at field that holds a value of the kind, or 0. Where a list on the way has no index in
// field, every item is a candidate.
func (d document) lineOf(field, kind string) int {
	var root yamlv3.Node
	if err := yamlv3.Unmarshal([]byte(d.text), &root); err != nil || len(root.Content) == 0 {
		return 0
	}
	return findLine(root.Content[0], strings.Split(strings.ReplaceAll(field, "[", ".["), "."), kind)
}

func findLine(n *yamlv3.Node, path []string, kind string) int {
	if n.Kind == yamlv3.AliasNode {
		n = n.Alias
	}
	if len(path) == 0 && nodeIs(n, kind) {
		return n.Line
	}
	switch n.Kind {
	case yamlv3.SequenceNode:
		for i, item := range n.Content {
			if len(path) > 0 && path[0] == fmt.Sprintf("[%d]", i) {
				return findLine(item, path[1:], kind)
			}
			if line := findLine(item, path, kind); line > 0 {
				return line
			}
		}
	case yamlv3.MappingNode:
		for i := 0; len(path) > 0 && i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == path[0] {
				return findLine(n.Content[i+1], path[1:], kind)
			}
		}
	}
	return 0
}

// nodeIs reports whether n is what encoding/json calls kind, which may be followed by the value: "number 1.5".
func nodeIs(n *yamlv3.Node, kind string) bool {
	kind, _, _ = strings.Cut(kind, " ")
	switch kind {
	case "object":
		return n.Kind == yamlv3.MappingNode
	case "array":
		return n.Kind == yamlv3.SequenceNode
	case "string":
		return n.Tag == "!!str"
	case "number":
		return n.Tag == "!!int" || n.Tag == "!!float"
	case "bool":
		return n.Tag == "!!bool"
	}
	return false
}

// encodeDocuments writes trees as a YAML stream; every document ends with "---", as in Linkerd's output.
func encodeDocuments(trees []map[string]any) ([]byte, error) {
	var out bytes.Buffer
	for _, tree := range trees {
		data, err := yaml.Marshal(tree)
		if err != nil {
			return nil, fmt.Errorf("encode manifest: %w", err)
		}
		out.Write(data)
		out.WriteString("---\n")
	}
	return out.Bytes(), nil
}

// nested returns the map at path below tree, made on the way where it is missing; ok is false where something else is there.
func nested(tree map[string]any, path ...string) (m map[string]any, ok bool) {
	for _, key := range path {
		switch below := tree[key].(type) {
		case map[string]any:
			tree = below
		case nil:
			made := map[string]any{}
			tree[key] = made
			tree = made
		default:
			return nil, false
		}
	}
	return tree, true
}
