package prometheus

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/viz/metrics"
)

func TestAskHistory(t *testing.T) {
	asked := make(chan string, 1)
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked <- r.URL.Path + " " + r.FormValue("query") + " step=" + r.FormValue("step")
		start, err := strconv.ParseFloat(r.FormValue("start"), 64)
		if err != nil {
			t.Errorf("start %q", r.FormValue("start"))
		}
		fmt.Fprintf(w, `{"status":"success","data":{"resultType":"matrix","result":[
			{"metric":{"deployment":"web"},"values":[[%f,"1"],[%f,"NaN"],[%f,"3"]]}]}}`, start, start+60, start+120)
	})
	r := metrics.HistoryRequest{Span: 2 * time.Minute, Step: time.Minute, Window: time.Minute,
		Queries: []metrics.Query{query}}
	history, err := source(t, Config{URL: url}).AskHistory(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	const want = `/api/v1/query_range sum by (deployment) (increase(request_total{job="linkerd-proxy",direction="inbound"}[1m])) step=60`
	if got := <-asked; got != want {
		t.Errorf("asked %s\nwant  %s", got, want)
	}
	var got []string
	for i, m := range history.Moments {
		if i > 0 && m.At.Sub(history.Moments[i-1].At) != time.Minute || m.At.Second() != 0 {
			t.Errorf("moment %d is at %v", i, m.At)
		}
		text := "-"
		for _, s := range m.Samples[0] {
			text = fmt.Sprintf("%s %v", s.Labels["deployment"], s.Value)
		}
		got = append(got, text)
	}
	if text := strings.Join(got, ", "); text != "web 1, -, web 3" {
		t.Errorf("moments %s", text)
	}
}

func TestAskHistoryNamesTheRemedy(t *testing.T) {
	url := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, vector) })
	r := metrics.HistoryRequest{Span: time.Hour, Step: time.Minute, Window: time.Minute, Queries: []metrics.Query{query}}
	_, err := source(t, Config{URL: url}).AskHistory(t.Context(), r)
	if err == nil || !strings.Contains(err.Error(), "check that the URL is Prometheus's") {
		t.Errorf("a vector instead of a matrix: %v", err)
	}
	r.Queries = nil
	if _, err := source(t, Config{URL: url}).AskHistory(t.Context(), r); err == nil {
		t.Error("a request without queries is sent")
	}
}
