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
		line, exemplar := splitExemplar(line)
		series, value, ok := splitLine(line)
		if !ok {
			w.buf = append(append(w.buf, line...), '\n')
			continue
		}
		value = max(value-r.base[maphash.Bytes(baseSeed, textSeries(series))], 0)
		w.buf = appendFloat(append(w.buf, series...), value)
		if value > 0 {
			w.buf = append(w.buf, exemplar...)
		}
		w.buf = append(w.buf, '\n')
	}
}

// textSeries returns a name and labels in any format as Text has them: le="1.0" becomes le="1".
func textSeries(series []byte) []byte {
	bound, ok := bytes.CutSuffix(series, []byte(`.0"} `))
	if !ok {
		return series
	}
	label := bytes.LastIndexByte(bound, '"') + 1
	if !bytes.HasSuffix(bound[:label], []byte(`{le="`)) && !bytes.HasSuffix(bound[:label], []byte(`,le="`)) {
		return series
	}
	return append(bytes.Clone(bound), `"} `...)
}

// splitExemplar returns a line without its exemplar, and the exemplar with the space before it.
func splitExemplar(line []byte) (rest, exemplar []byte) {
	line = bytes.TrimSuffix(line, []byte("\n"))
	if i := bytes.LastIndex(line, []byte(exemplarMark)); i >= 0 && line[0] != '#' {
		return line[:i], line[i:]
	}
	return line, nil
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
