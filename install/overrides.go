package install

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

// Overrides collects changes to the default values. A later one wins over an earlier one. The zero Overrides changes
// nothing.
type Overrides struct {
	tree     map[string]any
	warnings []string
	// reused means that the tree includes the values of an installation.
	reused bool
}

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
func (o *Overrides) HighAvailability() error { return o.File("values-ha.yaml", haValues) }

// merge checks tree against the schema and merges it over the earlier overrides.
func (o *Overrides) merge(origin string, tree map[string]any) error {
	checked, err := o.conform("", schema(), tree)
	if err != nil {
		return fmt.Errorf("%s: %w", origin, err)
	}
	o.tree = overlay(o.tree, checked.(map[string]any))
	return nil
}

// Values returns the defaults with all overrides applied, and warnings about keys that have no effect here. It does not
// validate the values.
func (o *Overrides) Values() (Values, []string, error) {
	v := Defaults()
	data, err := json.Marshal(o.tree)
	if err != nil {
		return Values{}, nil, fmt.Errorf("encode values: %w", err)
	}
	if err := json.Unmarshal(data, &v); err != nil {
		return Values{}, nil, leafError("", o.tree)
	}
	if o.reused && v.lacksIssuer() {
		return Values{}, nil, errIssuerNotStored
	}
	return v, o.warnings, nil
}

// leafError returns the error of the first leaf that does not decode, with its key. encoding/json names no field if a
// type decodes itself.
func leafError(path string, tree map[string]any) error {
	for _, k := range slices.Sorted(maps.Keys(tree)) {
		key := strings.TrimPrefix(path+"."+k, ".")
		if below, ok := tree[k].(map[string]any); ok && !slices.Contains(anyKeys, key) {
			if err := leafError(key, below); err != nil {
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
			err = json.Unmarshal(data, new(Values))
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

// schema returns the tree of values.yaml. It has all valid keys, and the type of each leaf is the type of its key.
func schema() map[string]any {
	var tree map[string]any
	if err := yaml.Unmarshal(defaultValues, &tree); err != nil {
		panic(fmt.Sprintf("install: values.yaml: %v", err))
	}
	return tree
}

// anyKeys are the maps in which users choose the keys.
var anyKeys = []string{"nodeSelector", "podAnnotations", "podLabels"}

// conform returns value in the type that the schema has for the key at path.
func (o *Overrides) conform(path string, schema, value any) (any, error) {
	switch want := schema.(type) {
	case map[string]any:
		got, ok := value.(map[string]any)
		if !ok && value != nil && value != literal("null") {
			return nil, fmt.Errorf("%s: want keys below it (%s)", path, strings.Join(slices.Sorted(maps.Keys(want)), ", "))
		}
		if slices.Contains(anyKeys, path) {
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
			if reason, ok := ignoredReason(key); ok {
				o.warnings = append(o.warnings, fmt.Sprintf("%s has no effect: %s", key, reason))
				continue
			}
			return nil, unknownKey(key)
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
