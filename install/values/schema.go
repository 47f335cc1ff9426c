package values

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/tulle-mesh/tulle/internal/spelling"
)

// Schema says which values there are.
type Schema struct {
	// Defaults is the YAML of all keys with their defaults. The type of each leaf is the type of its key.
	Defaults []byte
	// HA is the YAML of what --ha changes.
	HA []byte
	// Open are the maps in which users choose the keys.
	Open []string
	// Ignored are the keys of Linkerd's chart that have no effect here, and why. A key includes those below it. Such a key
	// causes a warning, so that a values file written for Linkerd installs Tulle.
	Ignored map[string]string
	// Documented is where the keys are listed.
	Documented string
	// Credentials begins the keys that an installation does not store where others can read them; "" is none.
	Credentials string
	// New returns a pointer to the zero values.
	New func() any
}

// tree returns the keys with their defaults.
func (s *Schema) tree() map[string]any {
	var tree map[string]any
	if err := yaml.Unmarshal(s.Defaults, &tree); err != nil {
		panic(fmt.Sprintf("values: defaults: %v", err))
	}
	return tree
}

// Complete returns the values of v with all keys of the schema. encoding/json omits some of them when they are empty.
func (s *Schema) Complete(v any) (map[string]any, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode values: %w", err)
	}
	var tree map[string]any
	if err := json.Unmarshal(data, &tree); err != nil {
		return nil, fmt.Errorf("decode values: %w", err)
	}
	s.complete("", tree, s.tree())
	return tree, nil
}

// complete adds to tree, below the key path, what only keys has. A list or map of the user's own keys becomes an empty
// one.
func (s *Schema) complete(path string, tree, keys map[string]any) {
	for k, leaf := range keys {
		key := strings.TrimPrefix(path+"."+k, ".")
		switch leaf := leaf.(type) {
		case map[string]any:
			below, ok := tree[k].(map[string]any)
			if !ok {
				below = map[string]any{}
				tree[k] = below
			}
			if !slices.Contains(s.Open, key) {
				s.complete(key, below, leaf)
			}
		case []any:
			if tree[k] == nil {
				tree[k] = []any{}
			}
		default:
			if tree[k] == nil {
				tree[k] = s.zero(key, leaf)
			}
		}
	}
}

// zero returns the empty value for a key with the default leaf. A duration cannot be empty: it is 0s.
func (s *Schema) zero(key string, leaf any) any {
	if empty := emptyOf(leaf); s.Accepts(key, empty) {
		return empty
	}
	return "0s"
}

// Keys lists all keys, inner ones included.
func (s *Schema) Keys() []string { return keys("", s.tree()) }

// ignored returns why a key of Linkerd's chart has no effect. ok is false if it is not such a key.
func (s *Schema) ignored(key string) (reason string, ok bool) {
	for k, reason := range s.Ignored {
		if key == k || strings.HasPrefix(key, k+".") {
			return reason, true
		}
	}
	return "", false
}

// unknownKey returns the error for a key that neither Tulle nor Linkerd has. It names the nearest key.
func (s *Schema) unknownKey(key string) error {
	best, ok := spelling.Nearest(key, slices.Sorted(slices.Values(s.Keys())))
	if !ok {
		return fmt.Errorf("unknown key %s: %s lists the keys", key, s.Documented)
	}
	return fmt.Errorf("unknown key %s: did you mean %s? %s lists the keys", key, best, s.Documented)
}

// keys lists all keys of the tree, inner ones included.
func keys(prefix string, tree map[string]any) []string {
	var out []string
	for k, v := range tree {
		key := strings.TrimPrefix(prefix+"."+k, ".")
		out = append(out, key)
		if below, ok := v.(map[string]any); ok {
			out = append(out, keys(key, below)...)
		}
	}
	return out
}
