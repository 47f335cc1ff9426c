package main

import (
	"encoding/json"
	"testing"

	"github.com/tulle-mesh/tulle/test/bench/systems"
)

func filled() *samples {
	s := newSamples()
	for block, v := range []struct{ direct, tulle, haproxy float64 }{{100, 150, 200}, {50, 110, 150}, {80, 120, 180}} {
		for system, value := range map[string]float64{"direct": v.direct, "tulle": v.tulle, "haproxy": v.haproxy} {
			s.add(block, "W1", system, "shared", figures{"high.p99": value, "low.p99": value / 2, "throughput": 1000 * value},
				false)
		}
	}
	return s
}

func TestRatioIsTakenBlockByBlock(t *testing.T) {
	s := filled()
	for _, c := range []struct {
		name   string
		target target
		ratio  float64
		met    bool
	}{
		{"plain", atMost("W1", "shared.high.p99", "haproxy", 0.8), 0.7333, true},
		{"less the direct path", added(atMost("W1", "shared.high.p99", "haproxy", 1)), 0.5, true},
		{"the whole interval has to meet the bound", added(atMost("W1", "shared.high.p99", "haproxy", 0.55)), 0.5, false},
		{"throughput has to be at least the bound", atLeast("W1", "shared.throughput", "haproxy", 0.95), 0.7333, false},
		{"another figure of its own", ofItself("W1", "shared.high.p99", "shared.low.p99", 1.5), 2, false},
		{"own limit", atMost("W1", "shared.high.p99", limits, 200), 0.6, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := s.ratio(c.target)
			if r.Ratio == nil || *r.Ratio != c.ratio || *r.Met != c.met {
				t.Errorf("ratio %v met %v, want %v %v", *r.Ratio, *r.Met, c.ratio, c.met)
			}
		})
	}
}

// TestCostOfTapIsTheWatchedPairByTulle shows which of the two is divided.
func TestCostOfTapIsTheWatchedPairByTulle(t *testing.T) {
	s := filled()
	for block, watched := range []float64{153, 115, 123} {
		s.add(block, "W1", systems.Tapped, "shared", figures{"high.p99": watched}, false)
	}
	r := s.ratio(tapMost("W1", "shared.high.p99", 1.05))
	if r.Ratio == nil || *r.Ratio != 1.025 || r.VS != "tulle" || r.Figure != "shared.high.p99 of tulle-tapped" {
		t.Errorf("got %+v", r)
	}
}

func TestRatioWithoutComparatorIsNull(t *testing.T) {
	r := filled().ratio(atMost("W1", "shared.high.p99", "envoy", 0.5))
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"workload":"W1","figure":"shared.high.p99","vs":"envoy","ratio":null,"target":0.5,"met":null}`
	if string(text) != want {
		t.Errorf("got %s, want %s", text, want)
	}
}

func TestRowsHoldMediansAndUnits(t *testing.T) {
	r := filled().results()
	want := row{"W1", "tulle", "shared.high.p99", 120, "us"}
	for _, got := range r.Rows {
		if got == want {
			return
		}
	}
	t.Errorf("rows %+v do not hold %+v", r.Rows, want)
}

func TestEveryTargetNamesAFigureWithAUnit(t *testing.T) {
	for _, list := range [][]target{required, aspired, unchanged, tapCost} {
		for _, target := range list {
			if unitOf(key{target.workload, "tulle", target.figure}) == "1" {
				t.Errorf("%s %s has no unit", target.workload, target.figure)
			}
		}
	}
}
