package check

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/tulle-mesh/tulle/viz/table"
)

// Write writes the answers as a table, as its failures only (short), or as JSON. The layouts are Linkerd's. Errors may
// quote what is in the cluster, so tables have no control characters of them.
func (r Results) Write(w io.Writer, format string) error {
	if format == "json" {
		return r.writeJSON(w)
	}
	for _, cat := range r {
		lines := categoryLines(cat, format == "short")
		if lines == "" {
			continue
		}
		fmt.Fprintf(w, "%s\n%s\n%s\n", cat.name, strings.Repeat("-", len(cat.name)), lines)
	}
	status := "√"
	if !r.Succeeded() {
		status = "×"
	}
	_, err := fmt.Fprintln(w, "Status check results are", status)
	return err
}

func categoryLines(cat categoryResult, failuresOnly bool) string {
	var b strings.Builder
	for _, r := range cat.checks {
		if r.result == passed {
			if !failuresOnly {
				fmt.Fprintln(&b, "√", r.text)
			}
			continue
		}
		symbol := "×"
		if r.result == warned {
			symbol = "‼"
		}
		fmt.Fprintf(&b, "%s %s\n    %s\n    see %s%s for hints\n", symbol, r.title(),
			strings.ReplaceAll(table.SafeLines(r.err.Error()), "\n", "\n    "), hintBase, r.anchor)
	}
	return b.String()
}

// writeJSON writes the document that scripts for `linkerd check -o json` read.
func (r Results) writeJSON(w io.Writer) error {
	type jsonCheck struct {
		Description string `json:"description"`
		Hint        string `json:"hint,omitempty"`
		Error       string `json:"error,omitempty"`
		Result      result `json:"result"`
	}
	type jsonCategory struct {
		Name   string      `json:"categoryName"`
		Checks []jsonCheck `json:"checks"`
	}
	doc := struct {
		Success    bool           `json:"success"`
		Categories []jsonCategory `json:"categories"`
	}{Success: r.Succeeded(), Categories: []jsonCategory{}}
	for _, cat := range r {
		category := jsonCategory{Name: cat.name, Checks: []jsonCheck{}}
		for _, r := range cat.checks {
			entry := jsonCheck{Description: r.text, Result: r.result}
			if r.err != nil {
				entry.Hint, entry.Error = hintBase+r.anchor, r.err.Error()
			}
			category.Checks = append(category.Checks, entry)
		}
		doc.Categories = append(doc.Categories, category)
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(doc)
}
