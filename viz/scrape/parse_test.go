package scrape

import (
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

func TestParse(t *testing.T) {
	wanted := map[string]bool{"a_total": true, "h_bucket": true}
	long := `a_total{x="` + strings.Repeat("v", 100<<10) + `"} 3` + "\n"
	for name, c := range map[string]struct {
		in   io.Reader
		want map[string]int // series by metric
		err  string
	}{
		"only what is wanted": {strings.NewReader("# TYPE a_total counter\na_total 1\na_total{x=\"1\"} 2\n" +
			"a_total_more 1\nb_total this is not parsed\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 1\nh_sum 1\n"),
			map[string]int{"a_total": 2, "h_bucket": 2}, ""},
		"byte by byte": {iotest.OneByteReader(strings.NewReader("# HELP\na_total 1\nb 1\na_total{x=\"}\"} 1\n")),
			map[string]int{"a_total": 2}, ""},
		"a long line": {strings.NewReader("x{y=\"" + strings.Repeat("a_total 1 ", 9<<10) + "\"} 1\n" + long),
			map[string]int{"a_total": 1}, ""},
		"a wanted line broken": {strings.NewReader("# HELP\na_total{x=\"} 1\n"), nil,
			"parse metrics: line 2: label \"x\": its value does not end"},
		"an end within a line": {strings.NewReader("# HELP\na_total 1"), nil,
			"parse metrics: line 2: the answer ends within it"},
		"another format": {strings.NewReader("<html>"), nil, "read metrics: the answer is not in Prometheus's text format"},
		"nothing":        {strings.NewReader(""), nil, "read metrics: the answer is empty"},
		"too much":       {strings.NewReader(long + long + long), nil, "read metrics: more than 262144 bytes"},
		"cut off": {io.MultiReader(strings.NewReader("a_total 1\n"), iotest.ErrReader(io.ErrUnexpectedEOF)), nil,
			"read metrics: unexpected EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			got := map[string]int{}
			err := parse(c.in, wanted, 256<<10, func(metric string, _ series) error {
				got[metric]++
				return nil
			})
			if text := errorText(err); text != c.err {
				t.Fatalf("error %q, want %q", text, c.err)
			}
			if err == nil {
				if diff := cmp.Diff(c.want, got); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			}
		})
	}
}

// lines are the series of a metric a_total that Prometheus's parser reads or refuses.
var lines = []string{
	`a_total 1`, `a_total{} 1`, `a_total{x="1"} 1.5e3`, `a_total{x="1",y="2"} +Inf`, `a_total{x="1",} NaN`,
	`a_total { x = "1" , y = "2" } 1 1700000000000`, "a_total\t-1", `a_total{x="a\"b\\c\nd"} 0`, `a_total{x="}"} 2`,
	`a_total{x=""} 2`, `a_total{x="\u00e9, "} 2`, `a_total{x="="} 2`, `a_total{x="\\"} 3`, `a_total{x="\n",y="\""} 3`,
	`a_total{x="\t"} 1`, `a_total{x="1"`, `a_total{x="1"}`, `a_total`, `a_total{x=1} 1`, `a_total{x="1" y="2"} 1`,
	`a_total{x="1"} one`, `a_total{x="1"} 1 2 3`, `a_total{x="1\"} 1`, `a_total{"x"} 1`, `a_total{x} 1`,
}

func TestParseReadsWhatPrometheusReads(t *testing.T) {
	for _, line := range lines {
		var got series
		ours := parse(strings.NewReader(line+"\n"), map[string]bool{"a_total": true}, 1<<20,
			func(_ string, s series) error {
				got = s
				return nil
			})
		parser := expfmt.NewTextParser(model.LegacyValidation)
		want, theirs := parser.TextToMetricFamilies(strings.NewReader(line + "\n"))
		if (ours == nil) != (theirs == nil) {
			t.Errorf("%s: error %v, Prometheus has %v", line, ours, theirs)
		}
		if ours != nil || theirs != nil {
			continue
		}
		metric := want["a_total"].GetMetric()[0]
		wanted, have := map[string]string{}, map[string]string{}
		for _, l := range metric.GetLabel() {
			wanted[l.GetName()] = l.GetValue()
		}
		for _, l := range got.labels {
			have[l.name] = l.value
		}
		if diff := cmp.Diff(wanted, have); diff != "" {
			t.Errorf("%s: labels (-want +got):\n%s", line, diff)
		}
		v, w := got.value, metric.GetUntyped().GetValue()
		if v != w && (v == v || w == w) {
			t.Errorf("%s: value %v, want %v", line, v, w)
		}
	}
}

// FuzzParse checks that no text makes the parser fail otherwise than with an error.
func FuzzParse(f *testing.F) {
	for _, line := range lines {
		f.Add(line + "\n")
	}
	f.Fuzz(func(_ *testing.T, text string) {
		_ = parse(strings.NewReader(text), map[string]bool{"a_total": true}, 1<<20,
			func(string, series) error { return nil })
	})
}
