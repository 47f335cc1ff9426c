package stat

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/tulle-mesh/tulle/viz/golden"
	"github.com/tulle-mesh/tulle/viz/resource"
	"github.com/tulle-mesh/tulle/viz/table"
)

// Options says which columns a table has.
type Options struct {
	// Wide adds the rates of bytes, Namespaces the namespace, and Versions the versions of the proxies.
	Wide, Namespaces, Versions bool
}

// WriteTables writes one table for each kind of the rows, in their order.
func WriteTables(w io.Writer, rows []Row, o Options) error {
	prefix := slices.ContainsFunc(rows, func(r Row) bool { return r.Kind.Name != rows[0].Kind.Name })
	for i := 0; i < len(rows); {
		end := i
		for end < len(rows) && rows[end].Kind.Name == rows[i].Kind.Name {
			end++
		}
		if i > 0 {
			if _, err := fmt.Fprintln(w); err != nil {
				return err
			}
		}
		if err := tableOf(rows[i:end], o, prefix).Write(w); err != nil {
			return err
		}
		i = end
	}
	return nil
}

// countsConnections reports whether a table of the kind has a column for connections.
func countsConnections(k resource.Kind) bool {
	return k.HasPods() || k.Name == "service" || k.Name == "server"
}

func isPolicy(k resource.Kind) bool { return k.Class == resource.Policy || k.Class == resource.Route }

// tableOf returns the table of rows of one kind, with the kind before each name if prefix is set.
func tableOf(rows []Row, o Options, prefix bool) *table.Table {
	k := rows[0].Kind
	namespaces := o.Namespaces && k.Name != resource.Namespace
	t := &table.Table{}
	if namespaces {
		t.Columns = table.Left("NAMESPACE")
	}
	t.Columns = append(t.Columns, table.Left("NAME")...)
	if k.Name == "pod" {
		t.Columns = append(t.Columns, table.Right("STATUS")...)
	}
	if isPolicy(k) {
		t.Columns = append(t.Columns, table.Right("UNAUTHORIZED")...)
	} else {
		t.Columns = append(t.Columns, table.Right("MESHED")...)
	}
	t.Columns = append(t.Columns, table.Right(golden.Headings...)...)
	if countsConnections(k) {
		t.Columns = append(t.Columns, table.Right("TCP_CONN")...)
		if o.Wide {
			t.Columns = append(t.Columns, table.Right("READ_BYTES/SEC", "WRITE_BYTES/SEC")...)
		}
	}
	if o.Versions {
		t.Columns = append(t.Columns, table.Right("PROXY_VERSION")...)
	}
	for _, r := range rows {
		t.Add(cells(r, o, namespaces, prefix)...)
	}
	return t
}

func cells(r Row, o Options, namespaces, prefix bool) (out []string) {
	if namespaces {
		out = append(out, cmp.Or(r.Namespace, "-"))
	}
	name := r.Name
	if prefix {
		name = r.Kind.Prefix() + "/" + name
	}
	out = append(out, name)
	if r.Kind.Name == "pod" {
		out = append(out, cmp.Or(r.Status, "-"))
	}
	switch {
	case isPolicy(r.Kind) && r.Denied != nil:
		out = append(out, golden.Rate(*r.Denied))
	default:
		out = append(out, cmp.Or(r.meshed(), "-"))
	}
	out = append(out, r.Stats.Cells()...)
	if countsConnections(r.Kind) {
		open, read, written := "-", "-", "-"
		if t := r.TCP; t != nil {
			open, read, written = fmt.Sprint(t.Open), bytesRate(t.ReadRate), bytesRate(t.WriteRate)
		}
		out = append(out, open)
		if o.Wide {
			out = append(out, read, written)
		}
	}
	if o.Versions {
		out = append(out, cmp.Or(strings.Join(r.Versions, ","), "-"))
	}
	return out
}

// meshed returns how many of the pods are meshed, as in 1/2, or "" for a kind without pods.
func (r Row) meshed() string {
	if !r.Kind.HasPods() {
		return ""
	}
	return fmt.Sprintf("%d/%d", r.Meshed, r.Total)
}

func bytesRate(perSecond float64) string { return fmt.Sprintf("%.1fB/s", perSecond) }

// jsonRow has the keys of `linkerd viz stat -o json`. A value of null is not known.
type jsonRow struct {
	Namespace     string   `json:"namespace"`
	Kind          string   `json:"kind"`
	Name          string   `json:"name"`
	Meshed        string   `json:"meshed,omitempty"`
	Status        string   `json:"status,omitempty"`
	Success       *float64 `json:"success"`
	RPS           *float64 `json:"rps"`
	P50           *uint64  `json:"latency_ms_p50"`
	P95           *uint64  `json:"latency_ms_p95"`
	P99           *uint64  `json:"latency_ms_p99"`
	Open          *uint64  `json:"tcp_open_connections,omitempty"`
	ReadRate      *float64 `json:"tcp_read_bytes_rate,omitempty"`
	WriteRate     *float64 `json:"tcp_write_bytes_rate,omitempty"`
	Unauthorized  *float64 `json:"unauthorized,omitempty"`
	ProxyVersions []string `json:"proxy_versions,omitempty"`
}

// WriteJSON writes the rows as an array, empty if there are none.
func WriteJSON(w io.Writer, rows []Row, o Options) error {
	out := make([]jsonRow, len(rows))
	for i, r := range rows {
		j := jsonRow{Namespace: r.Namespace, Kind: r.Kind.Name, Name: r.Name, Meshed: r.meshed(), Status: r.Status,
			Unauthorized: r.Denied}
		if s := r.Stats; s != nil {
			j.Success, j.RPS = &s.Success, &s.RPS
			j.P50, j.P95, j.P99 = s.Latencies()
		}
		if t := r.TCP; t != nil {
			j.Open, j.ReadRate, j.WriteRate = &t.Open, &t.ReadRate, &t.WriteRate
		}
		if o.Versions {
			j.ProxyVersions = r.Versions
		}
		out[i] = j
	}
	return table.WriteJSON(w, out)
}
