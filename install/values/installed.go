package values

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// Reuse replaces the defaults by the values of an installation, as its ConfigMap tulle-config has them. Later overrides
// win. Keys that this version does not have cause warnings.
func (o *Overrides) Reuse(installed string) error {
	stored, err := o.schema.stored(installed)
	if err != nil {
		return err
	}
	tree := map[string]any{}
	for key, value := range stored {
		if _, known := lookup(o.schema.tree(), key); !known {
			o.warnings = append(o.warnings, fmt.Sprintf("%s of the installation is not reused: this version has no such key",
				key))
			continue
		}
		put(tree, key, value)
	}
	o.reused = true
	return o.merge("values of the installation", tree)
}

// Lost returns what these overrides would change in an installation although they do not set it. Each text has a key
// and both values. It omits credentials, which the installation does not store.
func (o *Overrides) Lost(installed string) ([]string, error) {
	stored, err := o.schema.stored(installed)
	if err != nil {
		return nil, err
	}
	next := o.schema.New()
	if err := yaml.Unmarshal(o.schema.Defaults, next); err != nil {
		return nil, fmt.Errorf("decode defaults: %w", err)
	}
	if _, err := o.Apply(next); err != nil {
		return nil, err
	}
	rendered, err := yaml.Marshal(next)
	if err != nil {
		return nil, fmt.Errorf("encode values: %w", err)
	}
	planned, err := o.schema.stored(string(rendered))
	if err != nil {
		return nil, err
	}
	var lost []string
	for _, key := range slices.Sorted(maps.Keys(stored)) {
		_, known := lookup(o.schema.tree(), key)
		_, set := lookup(o.tree, key)
		if known && !set && !reflect.DeepEqual(stored[key], planned[key]) {
			lost = append(lost, fmt.Sprintf("%s (%s, now %s)", key, oneLine(stored[key]), oneLine(planned[key])))
		}
	}
	return lost, nil
}

// stored returns the values of an installation: the leaves by key. It includes leaves that the YAML omits because
// they are empty.
func (s *Schema) stored(installed string) (map[string]any, error) {
	var tree map[string]any
	if err := yaml.Unmarshal([]byte(installed), &tree, useNumber); err != nil {
		return nil, fmt.Errorf("read the values of the installation: %w", err)
	}
	stored := s.leaves("", tree)
	zero, err := s.zeroLeaves()
	if err != nil {
		return nil, err
	}
	for key, leaf := range s.leaves("", s.tree()) {
		parent := key[:max(strings.LastIndexByte(key, '.'), 0)]
		_, written := zero[key]
		if _, has := stored[key]; !has && !written && hasObject(tree, parent) {
			stored[key] = s.zero(key, leaf)
		}
	}
	if s.Credentials != "" {
		maps.DeleteFunc(stored, func(key string, _ any) bool { return strings.HasPrefix(key, s.Credentials) })
	}
	return stored, nil
}

// emptyOf returns the empty value for a key with the default leaf.
func emptyOf(leaf any) any {
	switch leaf.(type) {
	case bool:
		return false
	case float64:
		return json.Number("0")
	case string:
		return ""
	}
	return nil
}

// Accepts reports whether the type of a key accepts the value.
func (s *Schema) Accepts(key string, value any) bool {
	tree := map[string]any{}
	put(tree, key, value)
	data, err := json.Marshal(tree)
	return err == nil && json.Unmarshal(data, s.New()) == nil
}

// zeroLeaves returns the leaves of the zero values. Other leaves are omitted when they are empty.
func (s *Schema) zeroLeaves() (map[string]any, error) {
	data, err := json.Marshal(s.New())
	if err != nil {
		return nil, fmt.Errorf("encode values: %w", err)
	}
	var tree map[string]any
	if err := json.Unmarshal(data, &tree); err != nil {
		return nil, fmt.Errorf("decode values: %w", err)
	}
	return s.leaves("", tree), nil
}

// leaves returns the values of a tree by their keys. Maps with the user's own keys are leaves. An empty list and an
// empty map become null.
func (s *Schema) leaves(prefix string, tree map[string]any) map[string]any {
	out := map[string]any{}
	for k, v := range tree {
		key := strings.TrimPrefix(prefix+"."+k, ".")
		below, isMap := v.(map[string]any)
		list, isList := v.([]any)
		switch {
		case isMap && !slices.Contains(s.Open, key):
			maps.Copy(out, s.leaves(key, below))
		case isMap && len(below) == 0, isList && len(list) == 0:
			out[key] = nil
		default:
			out[key] = v
		}
	}
	return out
}

// hasObject reports whether the tree has an object at a key.
func hasObject(tree map[string]any, key string) bool {
	if key == "" {
		return true
	}
	v, _ := lookup(tree, key)
	_, ok := v.(map[string]any)
	return ok
}

// lookup returns the value of a tree at a dotted key.
func lookup(tree map[string]any, key string) (any, bool) {
	var v any = tree
	for part := range strings.SplitSeq(key, ".") {
		m, _ := v.(map[string]any)
		below, ok := m[part]
		if !ok {
			return nil, false
		}
		v = below
	}
	return v, true
}

// put sets the value at a dotted key.
func put(tree map[string]any, key string, value any) {
	parts := strings.Split(key, ".")
	for _, part := range parts[:len(parts)-1] {
		below, ok := tree[part].(map[string]any)
		if !ok {
			below = map[string]any{}
			tree[part] = below
		}
		tree = below
	}
	tree[parts[len(parts)-1]] = value
}

// oneLine formats a value on one line.
func oneLine(value any) string {
	data, err := json.Marshal(value)
	text := strings.Trim(string(data), `"`)
	switch {
	case err != nil || len(text) > 60:
		return "a longer value"
	case text == "null":
		return "none"
	}
	return cmp.Or(text, "none")
}
