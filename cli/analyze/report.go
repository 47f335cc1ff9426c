package analyze

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
)

// Write writes findings as a table, or as json. where says what was examined, for the case that there are none.
func Write(w io.Writer, findings []Finding, format, where string) error {
	if format == "json" {
		if findings == nil {
			findings = []Finding{}
		}
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(findings)
	}
	if len(findings) == 0 {
		_, err := fmt.Fprintf(w, "No issues found in %s.\n", where)
		return err
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "SEVERITY\tCODE\tNAMESPACE\tOBJECT\tMESSAGE")
	for _, f := range findings {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", f.Severity, f.Code, f.Namespace, f.Object, f.Message)
	}
	return tw.Flush()
}
