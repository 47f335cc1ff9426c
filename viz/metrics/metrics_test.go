package metrics

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"time"
)

func TestPromQL(t *testing.T) {
	for _, c := range []struct {
		name string
		q    Query
		want string
	}{
		{"increase by labels", Query{Metric: "response_total", By: []string{"namespace", "deployment"},
			Match: []Match{Is("direction", "inbound"), Not("tls", "true")}},
			`sum by (namespace, deployment) (increase(response_total{direction="inbound",tls!="true"}[1m]))`},
		{"gauge", Query{Metric: "tcp_open_connections", Now: true}, `sum by () (tcp_open_connections{})`},
		{"a value that tries to end its quotes", Query{Metric: "m", Now: true,
			Match: []Match{Is("authority", "a\"} or vector(1) #\n\\")}},
			`sum by () (m{authority="a\"} or vector(1) #\n\\"})`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := c.q.Validate(); err != nil {
				t.Fatal(err)
			}
			if got := c.q.PromQL(time.Minute); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// TestPromQLSelectsJobs leaves out the series of applications that the same Prometheus reads.
func TestPromQLSelectsJobs(t *testing.T) {
	q := Query{Metric: "m", Now: true, Match: []Match{Is("a", "b")}}
	for want, jobs := range map[string][]string{
		`sum by () (m{a="b"})`:                           nil,
		`sum by () (m{job="linkerd-proxy",a="b"})`:       {"linkerd-proxy"},
		`sum by () (m{job=~"one|shop/two\\.\\*",a="b"})`: {"one", "shop/two.*"},
	} {
		if got := q.PromQL(time.Minute, jobs...); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func TestValidateRefusesWhatIsNoName(t *testing.T) {
	for _, q := range []Query{
		{Metric: ""}, {Metric: "a b"}, {Metric: "m{}"},
		{Metric: "m", By: []string{"a) (b"}},
		{Metric: "m", Match: []Match{Is("a=\"", "b")}},
		{Metric: "m", Match: []Match{{Label: "a", Op: "=~", Value: "b"}}},
	} {
		if q.Validate() == nil {
			t.Errorf("%+v is accepted", q)
		}
	}
}

func TestSelects(t *testing.T) {
	q := Query{Metric: "m", Match: []Match{Is("direction", "inbound"), Not("tls", "true"), Is("dst", "")}}
	for labels, want := range map[string]bool{
		"direction=inbound":              true,
		"direction=inbound,tls=disabled": true,
		"direction=inbound,tls=true":     false,
		"direction=outbound":             false,
		"direction=inbound,dst=web":      false,
		"":                               false,
	} {
		got := q.Selects(func(name string) string {
			for pair := range strings.SplitSeq(labels, ",") {
				if k, v, _ := strings.Cut(pair, "="); k == name {
					return v
				}
			}
			return ""
		})
		if got != want {
			t.Errorf("%q: got %v, want %v", labels, got, want)
		}
	}
}

func TestQuantile(t *testing.T) {
	histogram := func(pairs ...float64) (b []Bucket) {
		for i := 0; i < len(pairs); i += 2 {
			b = append(b, Bucket{Le: pairs[i], Count: pairs[i+1]})
		}
		return b
	}
	inf := math.Inf(1)
	for _, c := range []struct {
		name    string
		p       float64
		buckets []Bucket
		want    float64
	}{
		{"no buckets", 0.5, nil, math.NaN()},
		{"no observations", 0.5, histogram(1, 0, inf, 0), math.NaN()},
		{"no last bucket", 0.5, histogram(1, 1, 2, 2), math.NaN()},
		{"in the first bucket", 0.5, histogram(10, 4, inf, 4), 5},
		{"within a later bucket", 0.5, histogram(1, 1, 3, 3, inf, 3), 1.5},
		{"beyond the last bound", 0.99, histogram(1, 1, 50, 2, inf, 100), 50},
		{"an empty bucket between", 0.9, histogram(1, 5, 2, 5, 4, 10, inf, 10), 3.6},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := Quantile(c.p, c.buckets)
			if got != c.want && !(math.IsNaN(got) && math.IsNaN(c.want)) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestAddBucket(t *testing.T) {
	var b []Bucket
	for _, s := range []struct {
		le string
		n  float64
	}{{"+Inf", 3}, {"1", 1}, {"x", 9}, {"NaN", 9}, {"2", 2}, {"1", 1}} {
		b = AddBucket(b, Sample{Labels: map[string]string{"le": s.le}, Value: s.n})
	}
	want := []Bucket{{1, 2}, {2, 2}, {math.Inf(1), 3}}
	if len(b) != 3 || b[0] != want[0] || b[1] != want[1] || b[2] != want[2] {
		t.Errorf("got %v, want %v", b, want)
	}
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"a\nb\tc ":            "a b c",
		"\x1b[31m\u202e":      "\uFFFD[31m\uFFFD",
		"bad \xff":            "bad \uFFFD",
		"too long for it":     "too long f...",
		"ééééééé":             "ééééé...",
		"ninebytes\u00e9 cut": "ninebytes...",
	} {
		if got := Printable(in, 10); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

// fixed is a Source with one answer.
type fixed struct {
	answer Answer
	err    error
}

func (f fixed) Ask(context.Context, time.Duration, []Query) (Answer, error) { return f.answer, f.err }

func TestFallback(t *testing.T) {
	works, away := fixed{answer: Answer{Notes: []string{"from proxies"}}}, fixed{err: errors.New("it is away")}
	answer, err := Fallback{works, away}.Ask(t.Context(), time.Minute, nil)
	if err != nil || len(answer.Notes) != 1 {
		t.Errorf("the first works: got %v, %v", answer, err)
	}
	answer, err = Fallback{away, works}.Ask(t.Context(), time.Minute, nil)
	if err != nil || strings.Join(answer.Notes, "; ") != "it is away; from proxies" {
		t.Errorf("the first is away: got %v, %v", answer, err)
	}
	if _, err = (Fallback{away, away}).Ask(t.Context(), time.Minute, nil); err == nil {
		t.Error("both are away: no error")
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err = (Fallback{away, works}).Ask(ended, time.Minute, nil); err == nil {
		t.Error("the context has ended: the second is asked")
	}
}

func TestValidateWindow(t *testing.T) {
	if err := Validate(0, []Query{{Metric: "m"}}); err == nil {
		t.Error("an increase in no time is accepted")
	}
	if err := Validate(0, []Query{{Metric: "m", Now: true}}); err != nil {
		t.Errorf("a value now needs no window: %v", err)
	}
	if err := Validate(time.Minute, []Query{{Metric: "m"}, {Metric: "-"}}); err == nil ||
		!strings.Contains(err.Error(), "query 2: ") {
		t.Errorf("got %v, want an error about query 2", err)
	}
}
