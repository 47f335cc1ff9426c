package inject

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// operation is a step of a patch. Source: RFC 6902 §4.
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

// Patch returns the RFC 6902 patch that turns before into after, both as JSON encodes them: the same bytes for the same objects,
// and nil where nothing differs. List items are added in place, so that fields of other items which this build does not know
// survive on the server. Time and memory grow with the size of the objects and no faster: both may come from anybody.
func Patch(before, after any) ([]byte, error) {
	from, err := tree(before)
	if err != nil {
		return nil, err
	}
	to, err := tree(after)
	if err != nil {
		return nil, err
	}
	var d differ
	d.value("", from, to)
	if len(d.ops) == 0 {
		return nil, nil
	}
	patch, err := json.Marshal(d.ops)
	if err != nil {
		return nil, fmt.Errorf("encode patch: %w", err)
	}
	return patch, nil
}

// tree returns what JSON makes of v, with numbers as they are written.
func tree(v any) (any, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode object: %w", err)
	}
	var out any
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	if err := dec.Decode(&out); err != nil {
		return nil, fmt.Errorf("decode object: %w", err)
	}
	return out, nil
}

// differ collects the operations; each path is that of the document after the operations before it.
type differ struct{ ops []operation }

func (d *differ) set(op, path string, value any) {
	if value == nil {
		value = json.RawMessage("null") // nil is a value that is absent
	}
	d.ops = append(d.ops, operation{op, path, value})
}

func (d *differ) value(path string, from, to any) {
	switch from := from.(type) {
	case map[string]any:
		if to, ok := to.(map[string]any); ok {
			d.object(path, from, to)
			return
		}
	case []any:
		if to, ok := to.([]any); ok {
			d.list(path, from, to)
			return
		}
	}
	if !reflect.DeepEqual(from, to) {
		d.set("replace", path, to)
	}
}

func (d *differ) object(path string, from, to map[string]any) {
	for _, key := range slices.Sorted(maps.Keys(from)) {
		if _, stays := to[key]; !stays {
			d.ops = append(d.ops, operation{Op: "remove", Path: path + "/" + escape(key)})
		}
	}
	for _, key := range slices.Sorted(maps.Keys(to)) {
		if old, existed := from[key]; existed {
			d.value(path+"/"+escape(key), old, to[key])
		} else {
			d.set("add", path+"/"+escape(key), to[key])
		}
	}
}

// list compares lists without the items that they begin and end with alike. Injection only adds items, and its reversal only takes some
// out, so whatever stays is recognised; a list that was changed otherwise is compared place by place.
func (d *differ) list(path string, from, to []any) {
	head := 0
	for head < min(len(from), len(to)) && reflect.DeepEqual(from[head], to[head]) {
		head++
	}
	from, to = from[head:], to[head:]
	for len(from) > 0 && len(to) > 0 && reflect.DeepEqual(from[len(from)-1], to[len(to)-1]) {
		from, to = from[:len(from)-1], to[:len(to)-1]
	}
	at := func(i int) string { return path + "/" + strconv.Itoa(head+i) }
	switch {
	case subsequence(to, from):
		kept := 0
		for _, item := range from {
			if kept < len(to) && reflect.DeepEqual(item, to[kept]) {
				kept++
			} else {
				d.ops = append(d.ops, operation{Op: "remove", Path: at(kept)})
			}
		}
	case subsequence(from, to):
		kept := 0
		for i, item := range to {
			if kept < len(from) && reflect.DeepEqual(item, from[kept]) {
				kept++
			} else {
				d.set("add", at(i), item)
			}
		}
	default:
		d.items(at, from, to)
	}
}

// items compares lists of which neither is the other with items added.
func (d *differ) items(at func(int) string, from, to []any) {
	both := min(len(from), len(to))
	for i := range both {
		d.value(at(i), from[i], to[i])
	}
	for range from[both:] {
		d.ops = append(d.ops, operation{Op: "remove", Path: at(both)})
	}
	for i := both; i < len(to); i++ {
		d.set("add", at(i), to[i])
	}
}

// subsequence reports whether all items of short are in long, in the same order.
func subsequence(short, long []any) bool {
	for _, item := range long {
		if len(short) > 0 && reflect.DeepEqual(item, short[0]) {
			short = short[1:]
		}
	}
	return len(short) == 0
}

// escape writes a key as a part of a pointer. Source: RFC 6901 §3.
func escape(key string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(key)
}
