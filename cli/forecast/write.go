package forecast

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/tulle-mesh/tulle/viz/table"
)

// shown is how many namespaces, and workloads of each, a table names.
const shown = 10

// Write writes the forecast as a table, as a table of what is wrong (short), or as JSON. Names come from the cluster,
// so tables have no control characters of them.
func (f Forecast) Write(w io.Writer, format string) error {
	if format == "json" {
		enc := json.NewEncoder(w)
		enc.SetIndent("", "  ")
		return enc.Encode(f)
	}
	fmt.Fprintf(w, "At %s, in %s, if nobody changes anything:\n\n", stamp(f.At), span(f.At.Sub(f.Now)))
	for _, item := range f.Items {
		if format == "short" && item.Result == Fine {
			continue
		}
		symbol := map[Result]string{Fine: "√", Warning: "‼", Error: "×"}[item.Result]
		where := ""
		if item.Namespace != "" {
			where = " -n " + item.Namespace
		}
		fmt.Fprintf(w, "%s %s\n", symbol, table.Safe(strings.TrimSpace(item.Kind+" "+item.Name)+where))
		for _, line := range item.Lines {
			fmt.Fprintln(w, "   ", table.Safe(line))
		}
	}
	fmt.Fprintln(w)
	f.writeBreak(w)
	status := "√"
	if !f.Success {
		status = "×"
	}
	_, err := fmt.Fprintln(w, "Status at that instant is", status)
	return err
}

func (f Forecast) writeBreak(w io.Writer) {
	b := f.FirstBreak
	if b == nil {
		fmt.Fprintln(w, "First break: none is known")
		return
	}
	when := "in " + span(b.Time.Sub(f.Now))
	if !b.Time.After(f.Now) {
		when = "already"
	}
	fmt.Fprintf(w, "First break: %s, %s: %s\n  from then on %s\n", stamp(b.Time), when, table.Safe(b.Cause), b.Consequence)
	pods, order, byNamespace := 0, []string{}, map[string][]string{}
	for _, h := range b.Hit {
		if _, ok := byNamespace[h.Namespace]; !ok {
			order = append(order, h.Namespace)
			byNamespace[h.Namespace] = nil
		}
		if pods += h.Pods; h.Workload != "" {
			byNamespace[h.Namespace] = append(byNamespace[h.Namespace], fmt.Sprintf("%s (%d)", h.Workload, h.Pods))
		}
	}
	switch {
	case len(order) == 0:
		fmt.Fprintln(w, "Hit: nobody, as no pod has a proxy")
		return
	case pods == 0:
		fmt.Fprintf(w, "Hit: new pods in %s\n", count(len(order), "namespace", "namespaces"))
	default:
		fmt.Fprintf(w, "Hit: %s in %s\n", count(pods, "proxy", "proxies"), count(len(order), "namespace", "namespaces"))
	}
	for _, ns := range order[:min(shown, len(order))] {
		line := "  " + ns
		if workloads := byNamespace[ns]; workloads != nil {
			line += ": " + strings.Join(workloads[:min(shown, len(workloads))], ", ")
			if more := len(workloads) - shown; more > 0 {
				line += fmt.Sprintf(" and %d more", more)
			}
		}
		fmt.Fprintln(w, table.Safe(line))
	}
	if more := len(order) - shown; more > 0 {
		fmt.Fprintf(w, "  and %d more namespaces\n", more)
	}
}
