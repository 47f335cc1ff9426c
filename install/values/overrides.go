// Package values changes default values as Helm does: values files, --set, --set-string and --set-file.
//
// It owns how a key and its text become a value of the key's type, and which keys there are. It must not know what a
// value means: a Schema says that. The one idea: the YAML of the defaults is the schema, so a key that is not in it is
// an error that names the nearest one.
package values

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"
)

// Overrides collects changes to the default values of a schema. A later one wins over an earlier one.
type Overrides struct {
	schema   *Schema
	tree     map[string]any
	warnings []string
	// reused means that the tree includes the values of an installation.
	reused bool
}

// New returns overrides that change nothing yet.
func New(s *Schema) *Overrides { return &Overrides{schema: s} }

// Reused reports whether the overrides include the values of an installation.
func (o *Overrides) Reused() bool { return o.reused }

// Set applies the argument of --set.
func (o *Overrides) Set(expr string) error {
	exprs, err := parseSet(expr)
	if err != nil {
		return fmt.Errorf("--set: %w", err)
	}
	return o.putAll("--set", exprs)
}

// SetString applies the argument of --set-string. A value of --set already has the type of its key, so the two differ
// only if a key accepts any type.
func (o *Overrides) SetString(expr string) error {
	exprs, err := parseSet(expr)
	if err != nil {
		return fmt.Errorf("--set-string: %w", err)
	}
	for i, e := range exprs {
		if v, ok := e.value.(literal); ok {
			exprs[i].value = string(v)
		}
	}
	return o.putAll("--set-string", exprs)
}

// SetFile applies the argument of --set-file, key=path pairs. It reads each path with read.
func (o *Overrides) SetFile(expr string, read func(path string) ([]byte, error)) error {
	for pair := range strings.SplitSeq(expr, ",") {
		key, file, ok := strings.Cut(pair, "=")
		if !ok {
			return fmt.Errorf("--set-file: %q: want key=path", pair)
		}
		path, err := parsePath(key)
		if err != nil {
			return fmt.Errorf("--set-file: %w", err)
		}
		data, err := read(file)
		if err != nil {
			return fmt.Errorf("--set-file %s: %w", key, err)
		}
		if err := o.putAll("--set-file", []setExpr{{path, string(data)}}); err != nil {
			return err
		}
	}
	return nil
}

// SetKey sets one key to the value of a dedicated flag. Errors name the flag as origin.
func (o *Overrides) SetKey(origin, key, value string) error {
	path, err := parsePath(key)
	if err != nil {
		return fmt.Errorf("%s: %w", origin, err)
	}
	return o.putAll(origin, []setExpr{{path, literal(value)}})
}

func (o *Overrides) putAll(origin string, exprs []setExpr) error {
	var tree any
	for _, e := range exprs {
		tree = setPath(tree, e.path, e.value)
	}
	if tree == nil {
		return nil
	}
	return o.merge(origin, tree.(map[string]any))
}

// File merges a values file, YAML or JSON.
func (o *Overrides) File(name string, data []byte) error {
	var tree map[string]any
	if err := yaml.Unmarshal(data, &tree, useNumber); err != nil {
		return fmt.Errorf("values file %s: %w", name, err)
	}
	return o.merge("values file "+name, tree)
}

// useNumber makes a decoder preserve the spelling of numbers.
func useNumber(d *json.Decoder) *json.Decoder {
	d.UseNumber()
	return d
}

// HighAvailability applies the values of --ha.
func (o *Overrides) HighAvailability() error { return o.File("values-ha.yaml", o.schema.HA) }

// merge checks tree against the schema and merges it over the earlier overrides.
func (o *Overrides) merge(origin string, tree map[string]any) error {
	checked, err := o.conform("", o.schema.tree(), tree)
	if err != nil {
		return fmt.Errorf("%s: %w", origin, err)
	}
	o.tree = overlay(o.tree, checked.(map[string]any))
	return nil
}

// Apply applies all overrides to into, which holds the defaults. It returns warnings about keys that have no effect. It
// does not validate the values.
func (o *Overrides) Apply(into any) (warnings []string, err error) {
	data, err := json.Marshal(o.tree)
	if err != nil {
		return nil, fmt.Errorf("encode values: %w", err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		return nil, o.schema.leafError("", o.tree)
	}
	return o.warnings, nil
}

// leafError returns the error of the first leaf that does not decode, with its key. encoding/json names no field if a
// type decodes itself.
func (s *Schema) leafError(path string, tree map[string]any) error {
	for _, k := range slices.Sorted(maps.Keys(tree)) {
		key := strings.TrimPrefix(path+"."+k, ".")
		if below, ok := tree[k].(map[string]any); ok && !slices.Contains(s.Open, key) {
			if err := s.leafError(key, below); err != nil {
				return err
			}
			continue
		}
		leaf := tree[k]
		for _, part := range slices.Backward(strings.Split(key, ".")) {
			leaf = map[string]any{part: leaf}
		}
		data, err := json.Marshal(leaf)
		if err == nil {
			err = json.Unmarshal(data, s.New())
		}
		if mismatch := (*json.UnmarshalTypeError)(nil); errors.As(err, &mismatch) {
			return fmt.Errorf("%s: %s does not fit a value of type %s", key, mismatch.Value, mismatch.Type)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	return nil
}

// overlay returns base with over's keys. Maps merge and other values are replaced. null removes the key, so that the
// default applies.
func overlay(base, over map[string]any) map[string]any {
	out := maps.Clone(base)
	if out == nil {
		out = map[string]any{}
	}
	for k, v := range over {
		if v == nil {
			delete(out, k)
			continue
		}
		nested, isMap := v.(map[string]any)
		if below, ok := out[k].(map[string]any); ok && isMap {
			out[k] = overlay(below, nested)
			continue
		}
		out[k] = v
	}
	return out
}

// conform returns value in the type that the schema has for the key at path.
func (o *Overrides) conform(path string, schema, value any) (any, error) {
	switch want := schema.(type) {
	case map[string]any:
		got, ok := value.(map[string]any)
		if !ok && value != nil && value != literal("null") {
			return nil, fmt.Errorf("%s: want keys below it (%s)", path, strings.Join(slices.Sorted(maps.Keys(want)), ", "))
		}
		if slices.Contains(o.schema.Open, path) {
			return stringMap(path, got)
		}
		return o.conformMap(path, want, got)
	case []any:
		return infer(value), nil
	}
	if value == nil || value == literal("null") {
		return nil, nil
	}
	return conformLeaf(path, schema, value)
}

func (o *Overrides) conformMap(path string, schema, value map[string]any) (any, error) {
	out := map[string]any{}
	for _, k := range slices.Sorted(maps.Keys(value)) {
		key := strings.TrimPrefix(path+"."+k, ".")
		below, known := schema[k]
		if !known {
			if reason, ok := o.schema.ignored(key); ok {
				o.warnings = append(o.warnings, fmt.Sprintf("%s has no effect: %s", key, reason))
				continue
			}
			return nil, o.schema.unknownKey(key)
		}
		v, err := o.conform(key, below, value[k])
		if err != nil {
			return nil, err
		}
		out[k] = v
	}
	return out, nil
}

func stringMap(path string, value map[string]any) (any, error) {
	out := map[string]any{}
	for k, v := range value {
		s, err := conformLeaf(path+"."+k, "", v)
		if err != nil {
			return nil, err
		}
		out[k] = s
	}
	return out, nil
}

// conformLeaf converts a scalar to the type of the schema's leaf. A number for a text key becomes the text as it was
// written.
func conformLeaf(path string, schema, value any) (any, error) {
	var text string
	switch v := value.(type) {
	case literal:
		text = string(v)
	case string:
		text = v
	case json.Number:
		text = v.String()
	case bool:
		text = strconv.FormatBool(v)
	default:
		return nil, fmt.Errorf("%s: want a single value", path)
	}
	switch schema.(type) {
	case bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %q is not true or false", path, text)
		}
		return b, nil
	case float64:
		if _, err := strconv.ParseFloat(text, 64); err != nil {
			return nil, fmt.Errorf("%s: %q is not a number", path, text)
		}
		return json.Number(text), nil
	}
	return text, nil
}

// infer returns the typed value of a literal, as Helm does. It is for lists whose items have their own schema.
func infer(value any) any {
	switch v := value.(type) {
	case []any:
		for i := range v {
			v[i] = infer(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = infer(v[k])
		}
	case literal:
		if v == "null" {
			return nil
		}
		if b, err := strconv.ParseBool(string(v)); err == nil && len(v) > 1 {
			return b
		}
		if n, err := strconv.ParseInt(string(v), 10, 64); err == nil {
			return n
		}
		return string(v)
	}
	return value
}
