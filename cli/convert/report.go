package convert

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// WriteReport writes what became of each field, a line each.
func (r *Result) WriteReport(w io.Writer) {
	if len(r.Findings) == 0 {
		fmt.Fprintln(w, "Nothing to convert.")
		return
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "OUTCOME\tOBJECT\tFIELD\tMESSAGE")
	for _, f := range r.Findings {
		field := f.Field
		if field == "" {
			field = "-"
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\n", f.Conversion, f.Object, field, f.Message)
	}
	_ = tw.Flush()
}
