package routes

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/tulle-mesh/tulle/viz/golden"
	"github.com/tulle-mesh/tulle/viz/table"
)

// Orders are the values of --sort.
var Orders = []string{"p99", "rps", "success"}

// Sort orders the rows of each table: the slowest, the most frequent or the least successful first. Any other order is
// by Service and route.
func Sort(tables []Table, order string) {
	for _, t := range tables {
		slices.SortStableFunc(t.Rows, Row.compare)
		switch order {
		case "p99":
			slices.SortStableFunc(t.Rows, func(a, b Row) int { return cmp.Compare(b.p99(), a.p99()) })
		case "rps":
			slices.SortStableFunc(t.Rows, func(a, b Row) int { return cmp.Compare(b.rps(), a.rps()) })
		case "success":
			slices.SortStableFunc(t.Rows, func(a, b Row) int { return cmp.Compare(a.success(), b.success()) })
		}
	}
}

// p99 returns the latency, and the least for one that is not known.
func (r Row) p99() float64 {
	if r.Stats == nil || math.IsNaN(r.Stats.P99) {
		return -1
	}
	return r.Stats.P99
}

func (r Row) rps() float64 {
	if r.Stats == nil {
		return 0
	}
	return r.Stats.RPS
}

// success returns the rate of success, and the greatest for a route without requests.
func (r Row) success() float64 {
	if r.Stats == nil {
		return math.Inf(1)
	}
	return r.Stats.Success
}

func (r Row) compare(o Row) int {
	last := func(r Row) int {
		if r.Route == Default {
			return 1
		}
		return 0
	}
	return cmp.Or(cmp.Compare(r.Service.Name, o.Service.Name), cmp.Compare(r.Service.Namespace, o.Service.Namespace),
		cmp.Compare(r.Service.Port, o.Service.Port), cmp.Compare(last(r), last(o)), cmp.Compare(r.Route, o.Route))
}

// Options say how tables are written.
type Options struct {
	// Wide tells the application's requests from those with their retries.
	Wide bool
	// To means that the requests are those that the resources sent.
	To bool
	// Authorities shows the whole authority instead of the Service.
	Authorities bool
}

// service returns how the table of t writes the Service of a row: with its namespace or port only where it is needed.
func (o Options) service(r Row, t Table) string {
	s := r.Service
	if o.Authorities {
		return s.Authority
	}
	text := s.Name
	if s.Namespace != "" && s.Namespace != t.Namespace && t.Namespace != "" {
		text += "." + s.Namespace
	}
	if slices.ContainsFunc(t.Rows, func(other Row) bool {
		return other.Service.Name == s.Name && other.Service.Namespace == s.Namespace && other.Service.Port != s.Port
	}) {
		text += ":" + s.Port
	}
	return text
}

// WriteTables writes the tables, with a title each if there are several.
func WriteTables(w io.Writer, tables []Table, o Options) error {
	for i, t := range tables {
		if i > 0 {
			if _, err := fmt.Fprintln(w); err != nil {
				return err
			}
		}
		if len(tables) > 1 {
			if _, err := fmt.Fprintf(w, "==> %s <==\n", table.Safe(t.title())); err != nil {
				return err
			}
		}
		if err := t.text(o).Write(w); err != nil {
			return err
		}
	}
	return nil
}

func (t Table) title() string { return t.Kind.Prefix() + "/" + t.Name }

func (t Table) text(o Options) *table.Table {
	service := "SERVICE"
	if o.Authorities {
		service = "AUTHORITY"
	}
	out := &table.Table{Columns: table.Left("ROUTE", service)}
	if o.Wide {
		out.Columns = append(out.Columns,
			table.Right("EFFECTIVE_SUCCESS", "EFFECTIVE_RPS", "ACTUAL_SUCCESS", "ACTUAL_RPS")...)
	} else {
		out.Columns = append(out.Columns, table.Right(golden.Headings[:2]...)...)
	}
	out.Columns = append(out.Columns, table.Right(golden.Headings[2:]...)...)
	for _, r := range t.Rows {
		numbers := r.Stats.Cells()
		cells := append([]string{r.Route, cmp.Or(o.service(r, t), "-")}, numbers[:2]...)
		switch {
		case o.Wide && r.Actual != nil:
			cells = append(cells, golden.Percent(r.Actual.Success), golden.Rate(r.Actual.RPS))
		case o.Wide:
			cells = append(cells, "-", "-")
		}
		out.Add(append(cells, numbers[2:]...)...)
	}
	return out
}

// jsonRow has the keys of `linkerd viz routes -o json`.
type jsonRow struct {
	Route            string   `json:"route"`
	Authority        string   `json:"authority"`
	Success          *float64 `json:"success,omitempty"`
	RPS              *float64 `json:"rps,omitempty"`
	EffectiveSuccess *float64 `json:"effective_success,omitempty"`
	EffectiveRPS     *float64 `json:"effective_rps,omitempty"`
	ActualSuccess    *float64 `json:"actual_success,omitempty"`
	ActualRPS        *float64 `json:"actual_rps,omitempty"`
	P50              *uint64  `json:"latency_ms_p50"`
	P95              *uint64  `json:"latency_ms_p95"`
	P99              *uint64  `json:"latency_ms_p99"`
}

// WriteJSON writes an object with an array of rows for each resource.
func WriteJSON(w io.Writer, tables []Table, o Options) error {
	out := map[string][]jsonRow{}
	for _, t := range tables {
		rows := make([]jsonRow, len(t.Rows))
		for i, r := range t.Rows {
			j := jsonRow{Route: r.Route, Authority: o.service(r, t)}
			s := r.Stats
			if s != nil {
				j.P50, j.P95, j.P99 = s.Latencies()
			}
			switch {
			case s == nil:
			case o.To:
				j.EffectiveSuccess, j.EffectiveRPS = &s.Success, &s.RPS
				if r.Actual != nil {
					j.ActualSuccess, j.ActualRPS = &r.Actual.Success, &r.Actual.RPS
				}
			default:
				j.Success, j.RPS = &s.Success, &s.RPS
			}
			rows[i] = j
		}
		out[t.title()] = rows
	}
	return table.WriteJSON(w, out)
}
