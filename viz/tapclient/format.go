package tapclient

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"k8s.io/client-go/util/jsonpath"

	"github.com/tulle-mesh/tulle/internal/spelling"
	"github.com/tulle-mesh/tulle/viz/table"
	"github.com/tulle-mesh/tulle/viz/tap"
)

// Format returns an event as text, without a line break at its end; "" if there is nothing to print.
type Format func(*tap.Event) (string, error)

// jsonPath begins the output format that has a template.
const jsonPath = "jsonpath="

// NewFormat returns the format that -o names: "" for a short line, wide, json or jsonpath. kind is the kind of objects
// that the wide line names. headers reports whether the format shows headers.
func NewFormat(output, kind string) (f Format, headers bool, err error) {
	template, isPath := strings.CutPrefix(output, jsonPath)
	switch {
	case isPath:
		f, err = templateFormat(template)
		return f, true, err
	case output == "json":
		return (*tap.Event).JSON, true, nil
	case output == "wide":
		return func(e *tap.Event) (string, error) { return e.Text(kind), nil }, false, nil
	case output == "":
		return func(e *tap.Event) (string, error) { return e.Text(""), nil }, false, nil
	}
	hint := ""
	if nearest, ok := spelling.Nearest(output, []string{"wide", "json"}); ok {
		hint = fmt.Sprintf("; did you mean %q?", nearest)
	}
	return nil, false, fmt.Errorf("output %q: want wide, json or jsonpath=TEMPLATE%s", output, hint)
}

// templateFormat returns a Format that applies a JSONPath to the JSON of an event. A path alone needs no braces.
func templateFormat(template string) (Format, error) {
	if !strings.Contains(template, "{") {
		template = "{." + strings.TrimPrefix(template, ".") + "}"
	}
	path := jsonpath.New("output").AllowMissingKeys(true)
	if err := path.Parse(template); err != nil {
		return nil, fmt.Errorf("output jsonpath=%s: %w", template, err)
	}
	return func(e *tap.Event) (string, error) {
		text, err := json.Marshal(e)
		if err != nil {
			return "", fmt.Errorf("encode event: %w", err)
		}
		dec := json.NewDecoder(bytes.NewReader(text))
		dec.UseNumber() // a number keeps its digits
		var tree any
		if err := dec.Decode(&tree); err != nil {
			return "", fmt.Errorf("decode event: %w", err)
		}
		var out bytes.Buffer
		if err := path.Execute(&out, printable(tree)); err != nil {
			return "", fmt.Errorf("output jsonpath=%s: %w", template, err)
		}
		return strings.TrimRight(out.String(), "\n"), nil
	}, nil
}

// printable escapes the texts of a JSON value for a terminal. It leaves the template alone, which is the user's own.
func printable(value any) any {
	switch v := value.(type) {
	case string:
		return table.Safe(v)
	case []any:
		for i := range v {
			v[i] = printable(v[i])
		}
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, inner := range v {
			out[table.Safe(key)] = printable(inner)
		}
		return out
	}
	return value
}
