package manifest

import (
	"fmt"
	"slices"
	"strings"

	yamlv3 "go.yaml.in/yaml/v3"

	"github.com/tulle-mesh/tulle/cli/convert"
	"github.com/tulle-mesh/tulle/internal/spelling"
)

// checkNames refuses names, labels and annotations that are not strings, as the API server does. YAML 1.1, which
// Kubernetes reads, takes an unquoted n, y, no, yes, off or on for a boolean.
func (o *Object) checkNames() error {
	fields := [][]string{{"apiVersion"}, {"kind"}}
	metas := [][]string{{"metadata"}}
	path, hasPods := templatePath(o.Kind())
	if len(path) > 0 {
		metas = append(metas, append(slices.Clone(path), "metadata"))
	}
	for _, meta := range metas {
		for _, key := range []string{"name", "generateName", "namespace"} {
			fields = append(fields, append(slices.Clone(meta), key))
		}
		for _, key := range []string{"labels", "annotations"} {
			fields = append(fields, o.below(append(slices.Clone(meta), key)...)...)
		}
	}
	if hasPods {
		fields = append(fields, o.below("spec", "selector", "matchLabels")...)
	}
	if o.Kind() == "Service" || o.Kind() == "ReplicationController" {
		fields = append(fields, o.below("spec", "selector")...)
	}
	for _, field := range fields {
		if err := o.checkString(field); err != nil {
			return err
		}
	}
	return nil
}

// value returns what the object has at path, nil for nothing.
func (o *Object) value(path ...string) any {
	var v any = o.Tree
	for _, key := range path {
		m, _ := v.(map[string]any)
		v = m[key]
	}
	return v
}

// below returns the paths of the fields of the map at path.
func (o *Object) below(path ...string) [][]string {
	m, _ := o.value(path...).(map[string]any)
	var paths [][]string
	for key := range m {
		paths = append(paths, append(slices.Clone(path), key))
	}
	slices.SortFunc(paths, slices.Compare)
	return paths
}

func (o *Object) checkString(field []string) error {
	switch o.value(field...).(type) {
	case nil, string:
		return nil
	}
	return o.Mistyped(convert.Mistyped{Path: field, Want: "a string", Text: true})
}

// Mistyped explains that a field is of another type than it has to be. It names the field, what is there and, for a
// string, the remedy.
func (o *Object) Mistyped(wrong convert.Mistyped) error {
	field := strings.ReplaceAll(o.path+strings.Join(wrong.Path, "."), ".[", "[")
	var steps []string
	if o.path != "" {
		steps = strings.Split(strings.TrimSuffix(strings.ReplaceAll(o.path, "[", ".["), "."), ".")
	}
	node := o.doc.nodeAt(append(steps, wrong.Path...))
	if len(wrong.Known) > 0 {
		line := 0
		if node != nil {
			line = node.Line
		}
		return o.doc.ErrorAt(line, field, unknownField(wrong))
	}
	if node == nil {
		return o.doc.ErrorAt(0, field, "is not "+wrong.Want)
	}
	is := map[string]string{"!!str": "a string", "!!int": "a number", "!!float": "a number"}[node.ShortTag()]
	switch node.Kind {
	case yamlv3.MappingNode:
		return o.doc.ErrorAt(node.Line, field, "is an object, want "+wrong.Want)
	case yamlv3.SequenceNode:
		return o.doc.ErrorAt(node.Line, field, "is a list, want "+wrong.Want)
	}
	// YAML 1.1, which Kubernetes reads, knows more booleans than the parser of lines
	if is == "" || is == "a string" && wrong.Text {
		is = fmt.Sprintf("the boolean %t", slices.Contains([]string{"y", "yes", "on", "true"}, strings.ToLower(node.Value)))
	}
	message := fmt.Sprintf("%s is %s, want %s", node.Value, is, wrong.Want)
	if wrong.Text {
		message += fmt.Sprintf(": write %q", node.Value)
	}
	return o.doc.ErrorAt(node.Line, field, message)
}

// unknownField explains a field that its kind does not have, or several where there may be one.
func unknownField(wrong convert.Mistyped) string {
	known := strings.Join(wrong.Known, ", ")
	if wrong.OneOf {
		return "has several fields: want one of " + known
	}
	if near, ok := spelling.Nearest(wrong.Path[len(wrong.Path)-1], wrong.Known); ok {
		return fmt.Sprintf("there is no such field; did you mean %s?", near)
	}
	return "there is no such field: want one of " + known
}

// nodeAt returns the node at the path, whose steps are keys and, for items of lists, [n]; nil where it cannot be found.
func (d Document) nodeAt(path []string) *yamlv3.Node {
	var root yamlv3.Node
	if err := yamlv3.Unmarshal([]byte(d.text), &root); err != nil || len(root.Content) == 0 {
		return nil
	}
	n := root.Content[0]
	for _, step := range path {
		if n = child(n, step); n == nil {
			return nil
		}
	}
	return n
}

// child returns the node below n at a key or an index.
func child(n *yamlv3.Node, step string) *yamlv3.Node {
	if n.Kind == yamlv3.AliasNode {
		n = n.Alias
	}
	for i, below := range n.Content {
		switch {
		case n.Kind == yamlv3.SequenceNode && step == fmt.Sprintf("[%d]", i):
			return below
		case n.Kind == yamlv3.MappingNode && i%2 == 0 && below.Value == step:
			return n.Content[i+1]
		}
	}
	return nil
}
