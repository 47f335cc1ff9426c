// Package table writes the tables of the viz commands.
//
// It owns the alignment, and the escapes that keep text from the cluster or the wire from controlling the terminal. It
// does not know what the columns mean. The one idea: a cell is escaped where it is written, so no command can forget
// it.
package table

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// gap is the number of blanks between columns.
const gap = 3

// Column is a heading and the alignment of its column: at the left for names, otherwise at the right for numbers.
type Column struct {
	Heading string
	Left    bool
}

// Table is a table of text. The zero value has no columns.
type Table struct {
	Columns []Column
	Rows    [][]string
}

// Left returns columns that are aligned at the left, as names are.
func Left(headings ...string) []Column { return columns(true, headings) }

// Right returns columns that are aligned at the right, as numbers are.
func Right(headings ...string) []Column { return columns(false, headings) }

func columns(left bool, headings []string) []Column {
	out := make([]Column, len(headings))
	for i, h := range headings {
		out[i] = Column{h, left}
	}
	return out
}

// Add adds a row. It must have a cell for each column.
func (t *Table) Add(cells ...string) { t.Rows = append(t.Rows, cells) }

// Write writes the headings and the rows. No line ends with a blank.
func (t *Table) Write(w io.Writer) error {
	head := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		head[i] = c.Heading
	}
	lines := [][]string{head}
	for _, row := range t.Rows {
		cells := make([]string, len(row))
		for i, c := range row {
			cells[i] = Safe(c)
		}
		lines = append(lines, cells)
	}
	widths := make([]int, len(t.Columns))
	for _, cells := range lines {
		for i, c := range cells {
			widths[i] = max(widths[i], utf8.RuneCountInString(c))
		}
	}
	var b strings.Builder
	for _, cells := range lines {
		var line strings.Builder
		for i, c := range cells {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c))
			if i > 0 {
				line.WriteString(strings.Repeat(" ", gap))
			}
			if t.Columns[i].Left {
				line.WriteString(c + pad)
			} else {
				line.WriteString(pad + c)
			}
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// SafeLines is Safe for a text that may have several lines and tabs.
func SafeLines(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		i := strings.IndexAny(s, "\n\t")
		if i < 0 {
			i = len(s)
		}
		b.WriteString(Safe(s[:i]))
		if i < len(s) {
			b.WriteByte(s[i])
			i++
		}
		s = s[i:]
	}
	return b.String()
}

// Safe returns s with every character that does not print written as an escape of Go: control characters, line breaks,
// marks that change the direction of writing, and bytes that are not UTF-8. A terminal only shows the result.
func Safe(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError }) < 0 {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			quoted := strconv.QuoteRuneToASCII(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
		s = s[size:]
	}
	return b.String()
}
