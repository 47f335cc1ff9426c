package learn

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"sigs.k8s.io/yaml"

	"github.com/tulle-mesh/tulle/viz/metrics"
)

// Write prints the policies as YAML: a head with the title and the notes, and then each object below its comment.
func (p Policies) Write(w io.Writer, title string) error {
	var out bytes.Buffer
	comment(&out, title)
	for _, note := range p.Notes {
		comment(&out, note)
	}
	for _, d := range p.Documents {
		out.WriteString("---\n")
		for _, line := range d.Comment {
			comment(&out, line)
		}
		data, err := yaml.Marshal(d.Tree)
		if err != nil {
			return fmt.Errorf("encode policies: %w", err)
		}
		out.Write(data)
	}
	_, err := w.Write(out.Bytes())
	return err
}

// maxComment bounds what a comment repeats of a name from elsewhere.
const maxComment = 1000

// comment writes lines of a comment. No character of the text can end it.
func comment(out *bytes.Buffer, text string) {
	for line := range strings.SplitSeq(text, "\n") {
		fmt.Fprintf(out, "# %s\n", metrics.Printable(line, maxComment))
	}
}

// WriteTable prints the changes as a table.
func WriteTable(w io.Writer, changes []Change) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "EFFECT\tNAMESPACE\tWORKLOAD\tPORT\tROUTE\tCLIENT\tSEEN\tPER_SECOND\tREASON")
	for _, c := range changes {
		what := "request"
		if c.Opaque {
			what = "connection"
		}
		seen := plural(c.Count, what)
		if c.Earlier {
			seen = "earlier"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%s\t%s\t%s\t%.3g\t%s\n", c.Effect, c.Namespace, c.Workload, c.Port,
			cmp.Or(c.Route, "-"), cmp.Or(c.Client, "no identity"), seen, c.Rate,
			metrics.Printable(c.Reason, maxComment))
	}
	return table.Flush()
}
