package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strings"
)

// results is test/bench/results.json.
type results struct {
	Rows   []row   `json:"rows"`
	Ratios []ratio `json:"ratios"`
}

// row is the median of one figure.
type row struct {
	Workload string  `json:"workload"`
	System   string  `json:"system"`
	Figure   string  `json:"figure"`
	Value    float64 `json:"value"`
	Unit     string  `json:"unit"`
}

// ratio is the median over blocks of Tulle's value by the other's. Ratio and Met are null where the comparator did not
// run.
type ratio struct {
	Workload string   `json:"workload"`
	Figure   string   `json:"figure"`
	VS       string   `json:"vs"`
	Ratio    *float64 `json:"ratio"`
	Target   float64  `json:"target"`
	Met      *bool    `json:"met"`

	low, high float64 // 95 % confidence interval
	target    target
}

// results are the medians, and the ratios of the lists of targets, in their order.
func (s *samples) results(lists ...[]target) results {
	var r results
	for _, k := range s.keys() {
		r.Rows = append(r.Rows, row{k.workload, k.system, k.figure, round(median(s.all(k))), unitOf(k)})
	}
	for _, list := range lists {
		for _, t := range list {
			r.Ratios = append(r.Ratios, s.ratio(t))
		}
	}
	return r
}

func (s *samples) ratio(t target) ratio {
	r := ratio{Workload: t.workload, Figure: t.figure, VS: t.vs, Target: t.bound, target: t}
	if t.added {
		r.Figure += "_added"
	}
	if t.of != "" {
		r.Figure += " of " + t.of
	}
	var q []float64
	switch {
	case t.vs == limits:
		for _, v := range s.all(key{t.workload, "tulle", t.figure}) {
			q = append(q, v/t.bound)
		}
		r.Target = 1
	case t.own:
		q = s.shares(key{t.workload, "tulle", t.figure}, key{t.workload, "tulle", t.vs})
	default:
		q = s.quotients(t.workload, t.figure, cmp.Or(t.of, "tulle"), t.vs, t.added)
	}
	if len(q) == 0 {
		return r
	}
	mid := round(median(q))
	r.Ratio = &mid
	r.low, r.high = interval(q)
	met := r.high <= r.Target
	if t.atLeast {
		met = r.low >= r.Target
	}
	r.Met = &met
	return r
}

// unitOf is the unit of a figure; CPU a byte moved is counted by the gigabyte.
func unitOf(k key) string {
	if k.workload == "W5" && strings.HasSuffix(k.figure, ".cpu") {
		return "s/GB"
	}
	for _, u := range units {
		if strings.HasSuffix(k.figure, u.suffix) {
			return u.unit
		}
	}
	return "1"
}

// round keeps four digits.
func round(v float64) float64 {
	if v == 0 || math.IsInf(v, 0) || math.IsNaN(v) {
		return 0
	}
	scale := math.Pow(10, 3-math.Floor(math.Log10(math.Abs(v))))
	return math.Round(v*scale) / scale
}

func (r results) write(path string) error {
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return fmt.Errorf("encode results: %w", err)
	}
	if err := os.WriteFile(path, append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("write results: %w", err)
	}
	return nil
}
