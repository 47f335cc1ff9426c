package manifest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	yamlv3 "go.yaml.in/yaml/v3"
	"sigs.k8s.io/yaml"
)

// Decoded is one document of Kubernetes objects.
type Decoded struct {
	Tree    map[string]any
	Objects []*Object // parts of the tree: itself, or the items of a List
}

// Decode returns every document of the sources; it is how all commands read manifests. A source may be a directory.
// check may refuse a document first; nil refuses none. All mistakes are one error. So is a source without objects: the
// command that should have written it most likely failed.
func (s Sources) Decode(ctx context.Context, args []string, check func(Document) error) ([]Decoded, error) {
	var manifests []Decoded
	var errs []error
	for _, arg := range args {
		files, err := sources(arg)
		if err != nil {
			return nil, err
		}
		before := len(errs)
		found := 0
		for _, file := range files {
			data, err := s.Read(ctx, file)
			if err != nil {
				return nil, err
			}
			docs, err := ReadDocuments(SourceName(file), data)
			if err != nil {
				return nil, err
			}
			for _, doc := range docs {
				m, err := decodeManifest(doc, check)
				if err != nil {
					errs = append(errs, err)
					continue
				}
				if m.Tree == nil { // null
					continue
				}
				found += len(m.Objects)
				manifests = append(manifests, m)
			}
		}
		if found == 0 && len(errs) == before {
			errs = append(errs, fmt.Errorf("%s: no Kubernetes objects: check the file, or the command that writes it",
				SourceName(arg)))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return manifests, nil
}

// Objects returns every object of the sources, those of Lists one by one. Text that lost its indentation, and an object
// without a kind, are errors.
func (s Sources) Objects(ctx context.Context, args []string) ([]*Object, error) {
	manifests, err := s.Decode(ctx, args, Document.CheckIndentation)
	if err != nil {
		return nil, err
	}
	var objects []*Object
	var errs []error
	for _, m := range manifests {
		for _, o := range m.Objects {
			if o.Kind() == "" {
				errs = append(errs, o.ErrorAt("kind", "is missing: want a Kubernetes object"))
			}
			objects = append(objects, o)
		}
	}
	return objects, errors.Join(errs...)
}

func decodeManifest(doc Document, check func(Document) error) (Decoded, error) {
	if check != nil {
		if err := check(doc); err != nil {
			return Decoded{}, err
		}
	}
	tree, err := doc.Decode()
	if err != nil || tree == nil {
		return Decoded{}, err
	}
	objects, err := objectsOf(doc, tree)
	return Decoded{Tree: tree, Objects: objects}, err
}

// mismatch explains an error of decoding the part of the document below prefix into a Kubernetes type.
func (d Document) mismatch(prefix string, err error) error {
	var wrong *json.UnmarshalTypeError
	if !errors.As(err, &wrong) {
		return d.ErrorAt(0, prefix, err.Error())
	}
	field := strings.TrimPrefix(prefix+"."+wrong.Field, ".")
	return d.ErrorAt(d.lineOf(field, wrong.Value), field, fmt.Sprintf("is a %s, want %s", wrong.Value, wrong.Type))
}

// lineOf returns the line of the first node at field that holds a value of the kind, or 0. Where a list on the way has
// no index in field, every item is a candidate.
func (d Document) lineOf(field, kind string) int {
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

// Write writes trees in a format: yaml, or json with a line for each.
func Write(w io.Writer, trees []map[string]any, format string) error {
	if format == "json" {
		enc := json.NewEncoder(w)
		for _, tree := range trees {
			if err := enc.Encode(tree); err != nil {
				return fmt.Errorf("write manifest: %w", err)
			}
		}
		return nil
	}
	data, err := encode(trees)
	if err != nil {
		return err
	}
	_, err = w.Write(data)
	return err
}

// encode writes trees as a YAML stream; every document ends with "---", as in Linkerd's output.
func encode(trees []map[string]any) ([]byte, error) {
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

// Nested returns the map at path below tree, made on the way where it is missing; ok is false where something else is
// there.
func Nested(tree map[string]any, path ...string) (m map[string]any, ok bool) {
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
