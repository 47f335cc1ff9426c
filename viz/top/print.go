package top

import (
	"io"

	"github.com/tulle-mesh/tulle/viz/table"
)

// Write writes the rows as a table, the most frequent first. It reports whether there are any.
func (r *Rows) Write(w io.Writer) (any bool, err error) {
	rows := r.sorted(0)
	if len(rows) == 0 {
		return false, nil
	}
	var t table.Table
	columns := r.columns()
	for _, c := range columns {
		t.Columns = append(t.Columns, table.Column{Heading: c.heading, Left: c.left})
	}
	for _, each := range rows {
		cells := make([]string, len(columns))
		for i, c := range columns {
			cells[i] = c.cell(each)
		}
		t.Add(cells...)
	}
	return true, t.Write(w)
}
