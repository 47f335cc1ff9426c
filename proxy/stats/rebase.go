package stats

import (
	"bytes"
	"hash/maphash"
	"strconv"
)

// rebased is a group that was hidden and is shown again. Its counters start at 0 again, as those of a label set that
// was dropped do: a reader that missed them would take the counts of their whole life for an increase.
type rebased struct {
	group
	base map[uint64]float64 // values when the group was hidden, by the hash of a series' name and labels
}

var baseSeed = maphash.MakeSeed()

// baseOf returns the values of the group's series.
func baseOf(g group) map[uint64]float64 {
	base := map[uint64]float64{}
	var w writer
	for f := range families {
		if families[f].Type == GaugeType {
			continue
		}
		w.headed, w.buf = true, w.buf[:0]
		g.collect(id(f), &w)
		for line := range bytes.Lines(w.buf) {
			if series, value, ok := splitLine(line); ok && value != 0 {
				base[maphash.Bytes(baseSeed, series)] = value
			}
		}
	}
	return base
}

// collect implements group.
func (r rebased) collect(f id, w *writer) {
	begin := len(w.buf)
	r.group.collect(f, w)
	if families[f].Type == GaugeType {
		return
	}
	lines := bytes.Clone(w.buf[begin:])
	w.buf = w.buf[:begin]
	for line := range bytes.Lines(lines) {
		series, value, ok := splitLine(line)
		if !ok {
			w.buf = append(w.buf, line...)
			continue
		}
		w.buf = append(w.buf, series...)
		w.buf = append(appendFloat(w.buf, max(value-r.base[maphash.Bytes(baseSeed, series)], 0)), '\n')
	}
}

// splitLine returns the name and labels of a line, with the space behind them, and its value.
func splitLine(line []byte) (series []byte, value float64, ok bool) {
	i := bytes.LastIndexByte(line, ' ') + 1
	if i == 0 || line[0] == '#' {
		return nil, 0, false
	}
	value, err := strconv.ParseFloat(string(bytes.TrimSuffix(line[i:], []byte("\n"))), 64)
	return line[:i], value, err == nil
}
