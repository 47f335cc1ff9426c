// Package table writes the tables of the viz commands.
//
// It owns alignment, and that no text from the cluster or the wire changes the terminal. It knows nothing of what the
// columns mean. The one idea: a cell is made safe where it is written, so that no command can forget to.
package table

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// gap is the number of blanks between columns.
const gap = 3

// Column is the heading of one column. Left aligns it; numbers stand at the right.
type Column struct {
	Heading string
	Left    bool
}

// Table is columns and rows of cells.
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

// Safe returns s with every character that does not print written as an escape: control characters, bidirectional
// marks, line breaks and bytes that are not UTF-8. A terminal shows it and does nothing else.
func Safe(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == utf8.RuneError }) < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r < 0x80:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r <= 0xffff:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
		i += size
	}
	return b.String()
}
