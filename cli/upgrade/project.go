package upgrade

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"

	"k8s.io/apimachinery/pkg/api/resource"
)

// lastApplied is the annotation in which kubectl keeps what it applied last.
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// shapeOf returns the fields that the manifest has, and those that it had when kubectl applied it last: applying it now
// removes these.
func shapeOf(last string, wanted map[string]any) any {
	var before map[string]any
	if json.Unmarshal([]byte(last), &before) != nil {
		return wanted
	}
	// kubectl writes these two into the annotation although no manifest has them.
	if m, ok := before["metadata"].(map[string]any); ok {
		if a, ok := m["annotations"].(map[string]any); ok && len(a) == 0 {
			delete(m, "annotations")
		}
	}
	return union(before, wanted)
}

// union returns a tree with the fields of both.
func union(a, b any) any {
	switch b := b.(type) {
	case map[string]any:
		a, ok := a.(map[string]any)
		if !ok {
			return b
		}
		out := maps.Clone(b)
		for k, v := range a {
			if w, both := b[k]; both {
				v = union(v, w)
			}
			out[k] = v
		}
		return out
	case []any:
		a, ok := a.([]any)
		if !ok || !named(a) || !named(b) {
			return b
		}
		out := make([]any, 0, len(b))
		for _, w := range b {
			if v := find(a, nameOf(w)); v != nil {
				w = union(v, w)
			}
			out = append(out, w)
		}
		for _, v := range a {
			if find(b, nameOf(v)) == nil {
				out = append(out, v)
			}
		}
		return out
	}
	return b
}

// project returns the part of live that shape has. The API server adds defaults, and controllers add what they own:
// neither is part of an upgrade.
func project(live, shape any) any {
	switch shape := shape.(type) {
	case map[string]any:
		live, ok := live.(map[string]any)
		if !ok {
			return nil
		}
		out := map[string]any{}
		for k, s := range shape {
			if v, ok := live[k]; ok {
				out[k] = project(v, s)
			}
		}
		return out
	case []any:
		live, ok := live.([]any)
		if !ok {
			return nil
		}
		var out []any
		if named(shape) && named(live) {
			for _, s := range shape {
				if v := find(live, nameOf(s)); v != nil {
					out = append(out, project(v, s))
				}
			}
			return out
		}
		for i, v := range live {
			if i < len(shape) {
				v = project(v, shape[i])
			}
			out = append(out, v)
		}
		return out
	}
	return live
}

// named reports whether the elements of a list are recognized by a key, as those of containers are, and not by their
// place.
func named(list []any) bool {
	for _, v := range list {
		if nameOf(v) == "" {
			return false
		}
	}
	return true
}

// nameOf returns the key of an element, or "".
func nameOf(v any) string {
	m, ok := v.(map[string]any)
	if !ok {
		return ""
	}
	for _, key := range []string{"mountPath", "name"} {
		if s, ok := m[key].(string); ok {
			return s
		}
	}
	return ""
}

func find(list []any, name string) any {
	for _, v := range list {
		if nameOf(v) == name {
			return v
		}
	}
	return nil
}

// normalize returns a tree without empty fields, which mean the same as absent ones, and with quantities as the API
// server writes them.
func normalize(key string, v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, field := range v {
			if key == "limits" || key == "requests" {
				field = canonical(field)
			}
			if field = normalize(k, field); field != nil {
				out[k] = field
			}
		}
		if len(out) == 0 {
			return nil
		}
		return out
	case []any:
		var out []any
		for _, element := range v {
			out = append(out, normalize("", element))
		}
		if out == nil {
			return nil
		}
		return out
	case string:
		if v == "" {
			return nil
		}
	}
	return v
}

func canonical(v any) any {
	q, err := resource.ParseQuantity(fmt.Sprint(v))
	if err != nil {
		return v
	}
	return q.String()
}

// hideData replaces the values of two Secrets by what may be shown: their length, and whether they differ.
func hideData(before, after any) {
	a, b := dataOf(before), dataOf(after)
	for key, value := range b {
		text := hidden(value)
		if old, ok := a[key]; ok && old != value {
			a[key] = hidden(old) + ", before"
			text += ", after"
		} else if ok {
			a[key] = text
		}
		b[key] = text
	}
	for key, value := range a {
		if _, ok := b[key]; !ok {
			a[key] = hidden(value)
		}
	}
}

func dataOf(tree any) map[string]any {
	object, _ := tree.(map[string]any)
	data, _ := object["data"].(map[string]any)
	return data
}

func hidden(value any) string {
	text, _ := value.(string)
	data, _ := base64.StdEncoding.DecodeString(text)
	return fmt.Sprintf("(not shown, %d bytes)", len(data))
}
