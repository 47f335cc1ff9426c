package convert

import (
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
)

// object is one object of the input while it is converted. It keeps a list of what was read.
type object struct {
	*conversion
	tree                         map[string]any
	group, kind, namespace, name string
	read                         map[string]bool // paths
	whole                        bool            // dropped as a whole: its fields need no report
	assumed                      bool            // a port was, and is reported
}

func newObject(c *conversion, tree map[string]any) *object {
	o := &object{conversion: c, tree: tree, kind: text(tree["kind"]), read: map[string]bool{}}
	if group, _, ok := strings.Cut(text(tree["apiVersion"]), "/"); ok {
		o.group = group
	}
	meta, _ := tree["metadata"].(map[string]any)
	o.namespace, o.name = text(meta["namespace"]), text(meta["name"])
	return o
}

func (o *object) report(field string, conversion Conversion, format string, args ...any) {
	f := Finding{Object: o.kind + "/" + o.name, Field: field, Conversion: conversion,
		Message: fmt.Sprintf(format, args...)}
	if !slices.Contains(o.result.Findings, f) { // a field may be read for several objects
		o.result.Findings = append(o.result.Findings, f)
	}
}

// unchanged says that the object, or a field, is valid here.
func (o *object) unchanged(field, format string, args ...any) {
	o.report(field, Unchanged, format, args...)
}

// became says what a field, and all below it, was converted to.
func (o *object) became(field, format string, args ...any) {
	o.report(field, Converted, format, args...)
}

// nearly says how the meaning of a field changes.
func (o *object) nearly(field, format string, args ...any) {
	o.report(field, Approximated, format, args...)
}

// drop says why a field, or with "" the object, is lost.
func (o *object) drop(field, format string, args ...any) {
	o.whole = o.whole || field == ""
	o.report(field, Dropped, format, args...)
}

// spec returns the reader of the object's spec.
func (o *object) spec() node { return node{o, o.tree["spec"], "spec"} }

// reportUnread reports every leaf below spec that no converter has read.
func (o *object) reportUnread() {
	if o.whole {
		return
	}
	var visit func(v any, path string)
	visit = func(v any, path string) {
		if o.read[path] {
			return
		}
		switch v := v.(type) {
		case map[string]any:
			for _, k := range keys(v) {
				visit(v[k], path+"."+k)
			}
		case []any:
			for i, item := range v {
				visit(item, fmt.Sprintf("%s[%d]", path, i))
			}
		default:
			o.drop(path, "no counterpart")
		}
	}
	visit(o.tree["spec"], "spec")
}

func keys(m map[string]any) []string {
	list := make([]string, 0, len(m))
	for k := range m {
		list = append(list, k)
	}
	sort.Strings(list)
	return list
}

// node reads a part of an object. Reading a leaf counts as converting it; a node that is not there reads as empty.
type node struct {
	o    *object
	v    any
	path string
}

func (n node) at(keys ...string) node {
	for _, k := range keys {
		m, _ := n.v.(map[string]any)
		n = node{n.o, m[k], n.path + "." + k}
	}
	return n
}

func (n node) exists() bool { return n.v != nil }

func (n node) items() []node {
	list, _ := n.v.([]any)
	out := make([]node, len(list))
	for i, v := range list {
		out[i] = node{n.o, v, fmt.Sprintf("%s[%d]", n.path, i)}
	}
	return out
}

func (n node) keys() []string {
	m, _ := n.v.(map[string]any)
	return keys(m)
}

// text returns a scalar as it would be written.
func (n node) text() string {
	n.done()
	switch v := n.v.(type) {
	case nil:
		return ""
	case string:
		return v
	case json.Number:
		return v.String()
	default:
		return fmt.Sprint(v)
	}
}

func (n node) texts() []string {
	var out []string
	for _, item := range n.items() {
		out = append(out, item.text())
	}
	return out
}

// number returns a whole number, or otherwise where there is none.
func (n node) number(otherwise int) int {
	i, err := strconv.Atoi(n.text())
	if err != nil {
		return otherwise
	}
	return i
}

// duration returns a length of time as annotations and Gateway API write it, with one unit where that is short (Source:
// GEP-2257); what is none is left as it is.
func (n node) duration() string {
	d, err := time.ParseDuration(n.text())
	if err != nil || d < 0 || d%time.Millisecond != 0 {
		return n.text()
	}
	units := []struct {
		unit time.Duration
		name string
	}{{time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}, {time.Millisecond, "ms"}}
	if d == 0 {
		return "0s"
	}
	for _, u := range units {
		if d%u.unit == 0 && d/u.unit < 100_000 { // GEP-2257: five digits at most
			return fmt.Sprint(int64(d/u.unit), u.name)
		}
	}
	var all strings.Builder
	for _, u := range units {
		if d >= u.unit {
			fmt.Fprint(&all, int64(d/u.unit), u.name)
			d %= u.unit
		}
	}
	return all.String()
}

// raw returns the value as it is.
func (n node) raw() any {
	n.done()
	return n.v
}

// done marks the node and all below it as read.
func (n node) done() { n.o.read[n.path] = true }

// drop reports the node as lost.
func (n node) drop(format string, args ...any) {
	if n.exists() {
		n.done()
		n.o.drop(n.path, format, args...)
	}
}

// nearly reports that the node's meaning changes.
func (n node) nearly(format string, args ...any) { n.o.nearly(n.path, format, args...) }

// only drops every key but those given, which a converter knows.
func (n node) only(known ...string) bool {
	for _, k := range n.keys() {
		if !slices.Contains(known, k) {
			return false
		}
	}
	return true
}
