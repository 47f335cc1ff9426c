package edges

import (
	"cmp"
	"io"

	"github.com/tulle-mesh/tulle/viz/table"
)

// secured is what a table writes for mesh TLS.
const secured = "√"

// WriteTable writes the edges; wide adds the identities.
func WriteTable(w io.Writer, edges []Edge, wide bool) error {
	t := table.Table{Columns: table.Left("SRC", "DST", "SRC_NS", "DST_NS")}
	if wide {
		t.Columns = append(t.Columns, table.Left("CLIENT_ID", "SERVER_ID")...)
	}
	t.Columns = append(t.Columns, table.Left("SECURED")...)
	for _, e := range edges {
		cells := []string{dash(e.Src), dash(e.Dst), dash(e.SrcNamespace), dash(e.DstNamespace)}
		if wide {
			cells = append(cells, dash(short(e.ClientID)), dash(short(e.ServerID)))
		}
		t.Add(append(cells, cmp.Or(e.Reason, secured))...)
	}
	return t.Write(w)
}

func dash(s string) string { return cmp.Or(s, "-") }

// jsonEdge has the keys of `linkerd viz edges -o json`.
type jsonEdge struct {
	Src          string `json:"src"`
	SrcNamespace string `json:"src_namespace"`
	Dst          string `json:"dst"`
	DstNamespace string `json:"dst_namespace"`
	ClientID     string `json:"client_id"`
	ServerID     string `json:"server_id"`
	Reason       string `json:"no_tls_reason"`
}

// WriteJSON writes the edges as an array, empty if there are none.
func WriteJSON(w io.Writer, edges []Edge) error {
	out := make([]jsonEdge, len(edges))
	for i, e := range edges {
		out[i] = jsonEdge{e.Src, e.SrcNamespace, e.Dst, e.DstNamespace, short(e.ClientID), short(e.ServerID), e.Reason}
	}
	return table.WriteJSON(w, out)
}
