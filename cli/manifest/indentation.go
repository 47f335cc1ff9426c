package manifest

import (
	"fmt"
	"regexp"
	"strings"
)

// parents are keys that always have something below them in a manifest.
var parentKey = regexp.MustCompile(`^( *)(metadata|spec|labels|annotations|matchLabels|selector):\s*(#.*)?$`)

// childKey is a line that says a key.
var childKey = regexp.MustCompile(`^( *)([A-Za-z0-9_./-]+):`)

// topLevel are the keys at the level of metadata and spec.
var topLevel = map[string]bool{"apiVersion": true, "kind": true, "metadata": true, "spec": true, "status": true,
	"data": true, "stringData": true,
	"type": true, "items": true, "rules": true, "roleRef": true, "subjects": true, "template": true}

// CheckIndentation finds a manifest whose lines lost their indentation, as text that is copied from a page does. Such
// text may still be YAML, with every object empty, so it has to be looked for.
func (d Document) CheckIndentation() error {
	var parent string
	var depth int
	line := 0
	for l := range strings.Lines(d.text) {
		line++
		trimmed := strings.TrimSpace(l)
		if trimmed == "" || trimmed[0] == '#' {
			continue
		}
		child := childKey.FindStringSubmatch(l)
		if parent != "" && child != nil && len(child[1]) == depth && (depth > 0 || !topLevel[child[2]]) {
			return d.ErrorAt(line, "",
				fmt.Sprintf("%q is at the level of %q and belongs below it: the indentation is lost", child[2], parent))
		}
		parent = ""
		if m := parentKey.FindStringSubmatch(strings.TrimRight(l, "\r\n")); m != nil {
			parent, depth = m[2], len(m[1])
		}
	}
	return nil
}
