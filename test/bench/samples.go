package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// String lists the figures by name.
func (f figures) String() string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(f)) {
		parts = append(parts, fmt.Sprintf("%s=%.4g", name, f[name]))
	}
	return strings.Join(parts, " ")
}

// key names one series of values: figure is layout and name.
type key struct{ workload, system, figure string }

// samples are all values of a run, by block.
type samples struct {
	values  map[key]map[int]float64
	noisy   int               // measurements that strangers disturbed
	total   int               // measurements
	skipped map[string]string // system: why it did not run
	failed  map[string]string // system and workload: the last failure
}

func newSamples() *samples {
	return &samples{values: map[key]map[int]float64{}, skipped: map[string]string{}, failed: map[string]string{}}
}

func (s *samples) add(block int, workload, system, layout string, f figures, noisy bool) {
	s.total++
	if noisy {
		s.noisy++
	}
	for name, value := range f {
		k := key{workload, system, layout + "." + name}
		if s.values[k] == nil {
			s.values[k] = map[int]float64{}
		}
		s.values[k][block] = value
	}
}

func (s *samples) skip(system, why string) { s.skipped[system] = why }
func (s *samples) fail(system, workload string, err error) {
	s.failed[system+" "+workload] = err.Error()
}

// keys in order of workload, figure and system.
func (s *samples) keys() []key {
	keys := slices.Collect(maps.Keys(s.values))
	slices.SortFunc(keys, func(a, b key) int {
		return strings.Compare(a.workload+"\x00"+a.figure+"\x00"+a.system, b.workload+"\x00"+b.figure+"\x00"+b.system)
	})
	return keys
}

// all values of a key, in order of blocks.
func (s *samples) all(k key) []float64 {
	var v []float64
	for _, block := range slices.Sorted(maps.Keys(s.values[k])) {
		v = append(v, s.values[k][block])
	}
	return v
}

// shares are the values of one key divided by those of another, block by block.
func (s *samples) shares(of, by key) []float64 {
	var q []float64
	for _, block := range slices.Sorted(maps.Keys(s.values[of])) {
		if y := s.values[by][block]; y > 0 {
			q = append(q, s.values[of][block]/y)
		}
	}
	return q
}

// quotients are the values of a divided by those of b, block by block. With less, the direct path's value is taken off
// both first.
func (s *samples) quotients(workload, figure, a, b string, less bool) []float64 {
	of := func(system string, block int) (float64, bool) {
		v, ok := s.values[key{workload, system, figure}][block]
		if !less {
			return v, ok
		}
		base, has := s.values[key{workload, "direct", figure}][block]
		return v - base, ok && has
	}
	var q []float64
	for _, block := range slices.Sorted(maps.Keys(s.values[key{workload, a, figure}])) {
		x, okX := of(a, block)
		y, okY := of(b, block)
		if okX && okY && y > 0 {
			q = append(q, x/y)
		}
	}
	return q
}
