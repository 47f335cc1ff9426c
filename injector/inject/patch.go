package inject

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// operation is a step of a patch. Source: RFC 6902 §4.
type operation struct {
	Op    string          `json:"op"`
	Path  string          `json:"path"`
	Value json.RawMessage `json:"value,omitempty"`
}

// Patch returns the RFC 6902 patch that turns before into after, both encoded as JSON. Equal objects give equal bytes;
// the patch is nil if nothing differs. List items are added in place, so unknown fields of other items survive on the
// server. Time and memory are linear in the size of the objects, because both are untrusted: equal parts are compared
// as text and never decoded.
func Patch(before, after any) ([]byte, error) {
	from, err := json.Marshal(before)
	if err != nil {
		return nil, fmt.Errorf("encode object: %w", err)
	}
	to, err := json.Marshal(after)
	if err != nil {
		return nil, fmt.Errorf("encode object: %w", err)
	}
	var d differ
	if err := d.value("", from, to); err != nil {
		return nil, fmt.Errorf("compare objects: %w", err)
	}
	if len(d.ops) == 0 {
		return nil, nil
	}
	patch, err := json.Marshal(d.ops)
	if err != nil {
		return nil, fmt.Errorf("encode patch: %w", err)
	}
	return patch, nil
}

// differ collects operations. Each path applies to the document after the operations before it. Values are compact
// JSON.
type differ struct{ ops []operation }

func (d *differ) value(path string, from, to json.RawMessage) error {
	switch {
	case bytes.Equal(from, to):
		return nil
	case from[0] == '{' && to[0] == '{':
		return d.object(path, from, to)
	case from[0] == '[' && to[0] == '[':
		return d.list(path, from, to)
	}
	d.ops = append(d.ops, operation{"replace", path, to})
	return nil
}

func (d *differ) object(path string, before, after json.RawMessage) error {
	var from, to map[string]json.RawMessage
	if err := decodeBoth(before, after, &from, &to); err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(from)) {
		if _, stays := to[key]; !stays {
			d.ops = append(d.ops, operation{Op: "remove", Path: path + "/" + escape(key)})
		}
	}
	for _, key := range slices.Sorted(maps.Keys(to)) {
		old, existed := from[key]
		if !existed {
			d.ops = append(d.ops, operation{"add", path + "/" + escape(key), to[key]})
		} else if err := d.value(path+"/"+escape(key), old, to[key]); err != nil {
			return err
		}
	}
	return nil
}

func decodeBoth[T any](before, after json.RawMessage, from, to *T) error {
	if err := json.Unmarshal(before, from); err != nil {
		return err
	}
	return json.Unmarshal(after, to)
}

// list compares lists without their common beginning and end. Injection only adds items, and its reversal only removes
// some, so the rest is recognised. Lists that differ in another way are compared index by index.
func (d *differ) list(path string, before, after json.RawMessage) error {
	var from, to []json.RawMessage
	if err := decodeBoth(before, after, &from, &to); err != nil {
		return err
	}
	head := 0
	for head < min(len(from), len(to)) && bytes.Equal(from[head], to[head]) {
		head++
	}
	from, to = from[head:], to[head:]
	for len(from) > 0 && len(to) > 0 && bytes.Equal(from[len(from)-1], to[len(to)-1]) {
		from, to = from[:len(from)-1], to[:len(to)-1]
	}
	at := func(i int) string { return path + "/" + strconv.Itoa(head+i) }
	switch {
	case subsequence(to, from):
		same := 0
		for _, item := range from {
			if same < len(to) && bytes.Equal(item, to[same]) {
				same++
			} else {
				d.ops = append(d.ops, operation{Op: "remove", Path: at(same)})
			}
		}
	case subsequence(from, to):
		same := 0
		for i, item := range to {
			if same < len(from) && bytes.Equal(item, from[same]) {
				same++
			} else {
				d.ops = append(d.ops, operation{"add", at(i), item})
			}
		}
	default:
		return d.items(at, from, to)
	}
	return nil
}

// items compares lists index by index.
func (d *differ) items(at func(int) string, from, to []json.RawMessage) error {
	both := min(len(from), len(to))
	for i := range both {
		if err := d.value(at(i), from[i], to[i]); err != nil {
			return err
		}
	}
	for range from[both:] {
		d.ops = append(d.ops, operation{Op: "remove", Path: at(both)})
	}
	for i := both; i < len(to); i++ {
		d.ops = append(d.ops, operation{"add", at(i), to[i]})
	}
	return nil
}

// subsequence reports whether all items of short are in long, in the same order.
func subsequence(short, long []json.RawMessage) bool {
	for _, item := range long {
		if len(short) > 0 && bytes.Equal(item, short[0]) {
			short = short[1:]
		}
	}
	return len(short) == 0
}

// escape writes a key as a part of a pointer. Source: RFC 6901 §3.
func escape(key string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(key)
}
