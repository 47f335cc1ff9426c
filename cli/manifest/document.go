// Package manifest reads the manifests that users hand to commands.
//
// It owns where they come from, how a stream becomes documents and objects, and errors that name document, line and
// field. It decides nothing about what an object means. The one idea: there is one reader for all commands, and what it
// cannot read whole is an error, so that nothing gets lost on the way to a cluster.
package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	yamlv3 "go.yaml.in/yaml/v3"
	"sigs.k8s.io/yaml"
)

// Document is one YAML or JSON document of a source and its position there, for messages.
type Document struct {
	source string // file, URL or stdin
	number int    // from 1
	line   int    // of the document's first line in the source, from 1
	text   string
	json   bool // the text is one JSON object, and is not read as YAML
}

// ReadDocuments returns the documents of a source. It is the only reader of manifests and of other YAML that users hand
// in.
//
// A source is a YAML stream, JSON objects one after the other with or without space between them, or a mixture of both.
// Documents without content are left out. Text that is not UTF-8 is an error that names the line.
func ReadDocuments(source string, data []byte) ([]Document, error) {
	if err := checkText(source, data); err != nil {
		return nil, err
	}
	var docs []Document
	for _, chunk := range splitAtMarkers(string(data)) {
		for _, d := range splitJSON(chunk) {
			d.source, d.number = source, len(docs)+1
			docs = append(docs, d)
		}
	}
	return docs, nil
}

// ReadDocument returns the document of a source that may hold one: what follows the first would have no effect.
func ReadDocument(source string, data []byte) (Document, error) {
	docs, err := ReadDocuments(source, data)
	switch {
	case err != nil:
		return Document{}, err
	case len(docs) == 0:
		return Document{}, fmt.Errorf("%s: is empty: check the file, or the command that writes it", source)
	case len(docs) > 1:
		return Document{}, docs[1].ErrorAt(0, "", "want one document")
	}
	return docs[0], nil
}

const byteOrderMark = "\ufeff"

// splitAtMarkers cuts a YAML stream at the lines that begin with "---", which content or a comment may follow, or with
// "...". YAML allows these lines in no scalar (YAML 1.1 §9.1.2, c-forbidden). Each part may begin with a byte order
// mark (§5.2), as files that are written one after the other do.
func splitAtMarkers(text string) []Document {
	var chunks []Document
	start, startLine := 0, 1 // of the current part
	flush := func(end int) {
		if content := strings.TrimPrefix(text[start:end], byteOrderMark); hasContent(content) {
			chunks = append(chunks, Document{line: startLine, text: content})
		}
	}
	offset, line := 0, 0
	for l := range strings.Lines(text) {
		begin := offset
		offset += len(l)
		line++
		l = strings.TrimPrefix(l, byteOrderMark)
		rest, marker := strings.CutPrefix(l, "---")
		if !marker {
			rest, marker = strings.CutPrefix(l, "...")
		}
		if !marker || strings.Trim(rest[:min(1, len(rest))], " \t\r\n") != "" {
			continue
		}
		flush(begin)
		start, startLine = offset, line+1
		if content := strings.TrimSpace(rest); content != "" && content[0] != '#' {
			start, startLine = offset-len(rest), line
		}
	}
	flush(len(text))
	return chunks
}

// splitJSON cuts a part of a YAML stream that is JSON objects one after the other, as jq -c writes them. What follows
// the last whole object becomes a document of its own, so that it is decoded or refused and never lost.
func splitJSON(chunk Document) []Document {
	var docs []Document
	rest := chunk
	for {
		rest.skipBlank()
		if rest.text == "" || docs != nil && !hasContent(rest.text) {
			return docs
		}
		var value json.RawMessage
		dec := json.NewDecoder(strings.NewReader(rest.text))
		if rest.text[0] != '{' || dec.Decode(&value) != nil {
			if docs == nil {
				return []Document{chunk}
			}
			return append(docs, rest)
		}
		end := int(dec.InputOffset())
		docs = append(docs, Document{line: rest.line, text: rest.text[:end], json: true})
		rest.line += strings.Count(rest.text[:end], "\n")
		rest.text = rest.text[end:]
	}
}

// skipBlank removes the space at the document's beginning.
func (d *Document) skipBlank() {
	trimmed := strings.TrimLeft(d.text, " \t\r\n"+byteOrderMark)
	d.line += strings.Count(d.text[:len(d.text)-len(trimmed)], "\n")
	d.text = trimmed
}

// checkText refuses text that is not UTF-8: the YAML decoder names no line, and takes UTF-16 for one document.
func checkText(source string, data []byte) error {
	if bytes.HasPrefix(data, []byte{0xff, 0xfe}) || bytes.HasPrefix(data, []byte{0xfe, 0xff}) {
		return fmt.Errorf("%s: the text is UTF-16, as Windows writes it: save it as UTF-8", source)
	}
	line := 0
	for l := range bytes.Lines(data) {
		line++
		if !utf8.Valid(l) {
			return fmt.Errorf("%s: line %d: the text is not UTF-8", source, line)
		}
	}
	return nil
}

// hasContent reports whether there is more than comments and directives.
func hasContent(text string) bool {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' && line[0] != '%' {
			return true
		}
	}
	return false
}

// lineInError is how the YAML decoder says where it stopped.
var lineInError = regexp.MustCompile(`line (\d+): `)

// Decode returns the document as a tree, nil for null; numbers stay as they are written. A key that stands twice is an
// error: one of its values would be lost. So is text after the end of the document.
func (d Document) Decode() (map[string]any, error) {
	if d.json {
		return d.decodeJSON()
	}
	var tree map[string]any
	err := yaml.UnmarshalStrict([]byte(d.text), &tree,
		func(dec *json.Decoder) *json.Decoder { dec.UseNumber(); return dec })
	if err == nil {
		return tree, d.checkEnd()
	}
	line, message := 0, strings.TrimPrefix(err.Error(), "error converting YAML to JSON: ")
	if m := lineInError.FindStringSubmatch(message); m != nil {
		line, _ = strconv.Atoi(m[1])
		message = strings.Replace(message, m[0], "", 1)
	}
	if mismatch := (*json.UnmarshalTypeError)(nil); errors.As(err, &mismatch) {
		message = "not an object, but a " + mismatch.Value
		line = 1
	}
	return nil, d.ErrorAt(line, "", strings.TrimPrefix(message, "yaml: "))
}

// checkEnd refuses text behind the first YAML document of the text, which the decoder does not read. There is some
// behind a flow mapping without "---", or behind a line break that only YAML knows.
func (d Document) checkEnd() error {
	dec := yamlv3.NewDecoder(strings.NewReader(d.text))
	var first, second yamlv3.Node
	if err := dec.Decode(&first); err != nil {
		return d.ErrorAt(0, "", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	switch err := dec.Decode(&second); {
	case errors.Is(err, io.EOF):
		return nil
	case err == nil:
		return d.ErrorAt(second.Line, "", `another document follows: end the line "---" before it with a line feed`)
	default:
		line := 0 // the decoder counts lines from 0 when it wants the start of a document
		if m := lineInError.FindStringSubmatch(err.Error()); m != nil {
			line, _ = strconv.Atoi(m[1])
		}
		return d.ErrorAt(line+1, "", `text follows the end of the document: put a line "---" before it`)
	}
}

// decodeJSON reads the document as JSON, which is not all YAML: tabs, and characters beyond 16 bits as two escapes.
func (d Document) decodeJSON() (map[string]any, error) {
	dec := json.NewDecoder(strings.NewReader(d.text))
	dec.UseNumber()
	if key, end := repeatedKey(json.NewDecoder(strings.NewReader(d.text))); key != "" {
		return nil, d.ErrorAt(1+strings.Count(d.text[:end], "\n"), "", fmt.Sprintf("key %q already set in map", key))
	}
	var tree map[string]any
	if err := dec.Decode(&tree); err != nil {
		return nil, d.ErrorAt(0, "", err.Error())
	}
	return tree, nil
}

// repeatedKey returns the first key that an object of valid JSON has twice, and the offset of its end; "" if there is
// none.
func repeatedKey(dec *json.Decoder) (key string, end int64) {
	type level struct {
		keys  map[string]bool // nil for a list
		value bool            // a value comes next, not a key
	}
	var levels []level
	for {
		token, err := dec.Token()
		if err != nil {
			return "", 0
		}
		if text, ok := token.(string); ok && len(levels) > 0 {
			if at := &levels[len(levels)-1]; at.keys != nil && !at.value {
				if at.keys[text] {
					return text, dec.InputOffset()
				}
				at.keys[text], at.value = true, true
				continue
			}
		}
		switch token {
		case json.Delim('{'):
			levels = append(levels, level{keys: map[string]bool{}})
			continue
		case json.Delim('['):
			levels = append(levels, level{})
			continue
		case json.Delim('}'), json.Delim(']'):
			levels = levels[:len(levels)-1]
		}
		if len(levels) > 0 { // a value has ended
			levels[len(levels)-1].value = false
		}
	}
}

// DecodeInto reads the document into a struct. The error names the field that does not fit.
func (d Document) DecodeInto(into any) error {
	tree, err := d.Decode()
	if err != nil {
		return err
	}
	data, err := json.Marshal(tree)
	if err != nil {
		return fmt.Errorf("encode %s: %w", d.source, err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		return d.mismatch("", err)
	}
	return nil
}

// ErrorAt returns an error that names the Document, the line (from 1 in the Document, 0 for unknown) and the field (may
// be ""). Where the line is not known it is the document's first.
func (d Document) ErrorAt(line int, field, message string) error {
	where := fmt.Sprintf("%s: document %d", d.source, d.number)
	if line > 0 {
		where += fmt.Sprintf(", line %d", d.line+line-1)
	} else {
		where += fmt.Sprintf(", from line %d", d.firstLine())
	}
	if field != "" {
		where += ": " + field
	}
	return fmt.Errorf("%s: %s", where, message)
}

// firstLine returns the line of the source that the document's content begins in.
func (d Document) firstLine() int {
	line := d.line
	for l := range strings.Lines(d.text) {
		if l = strings.TrimSpace(l); l != "" && l[0] != '#' && l[0] != '%' {
			return line
		}
		line++
	}
	return d.line
}
