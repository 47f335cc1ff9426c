package stats

import (
	"io"
	"math"
	"runtime"
	"strconv"
)

// flushBytes is how much text is formatted at once. So a scrape of thousands of series needs little memory, and
// requests run in between.
const flushBytes = 8 << 10

// WriteText writes all series in Text. It omits families without series.
func (r *Registry) WriteText(out io.Writer) error { return r.Write(out, Text) }

// Write writes all series in a format. It omits families without series.
func (r *Registry) Write(out io.Writer, format Format) error {
	s := r.snapshot()
	w := &writer{out: out, buf: make([]byte, 0, flushBytes+1024), format: format}
	for f := range families {
		w.begin(id(f))
		if id(f) < firstSingle {
			for _, g := range s.groups {
				g.collect(id(f), w)
				w.yield()
			}
		}
		for _, c := range s.counters[id(f)] {
			c.collect(id(f), w)
			w.yield()
		}
		for _, fn := range s.funcs {
			if fn.family == id(f) {
				w.float(id(f), fn.labels, fn.value())
			}
		}
	}
	if format == OpenMetrics {
		w.buf = append(w.buf, "# EOF\n"...)
	}
	w.flush()
	return w.err
}

// writer formats series.
type writer struct {
	out    io.Writer
	buf    []byte
	err    error
	headed bool // HELP and TYPE of the current family are written
	format Format
}

func (w *writer) begin(id) { w.headed = false }

func (w *writer) head(f id) {
	if w.headed {
		return
	}
	w.headed = true
	family := families[f]
	if w.format == OpenMetrics {
		family = family.openMetrics()
	}
	w.buf = append(w.buf, "# HELP "...)
	w.buf = append(w.buf, family.Name...)
	w.buf = append(w.buf, ' ')
	w.buf = append(w.buf, family.Help...)
	w.buf = append(w.buf, "\n# TYPE "...)
	w.buf = append(w.buf, family.Name...)
	w.buf = append(w.buf, ' ')
	w.buf = append(w.buf, family.Type...)
	w.buf = append(w.buf, '\n')
}

// appendSeries appends a name with labels and the space before the value. It takes and returns the buffer, because a
// store of a slice in writer costs more than the bytes while the garbage collector marks.
func appendSeries(b []byte, name, suffix string, labels, more Labels) []byte {
	b = append(b, name...)
	b = append(b, suffix...)
	if labels != "" || more != "" {
		b = append(b, '{')
		b = append(b, labels...)
		if labels != "" && more != "" {
			b = append(b, ',')
		}
		b = append(b, more...)
		b = append(b, '}')
	}
	return append(b, ' ')
}

func (w *writer) value(f id, labels Labels, v uint64) {
	w.head(f)
	b := appendSeries(w.buf, families[f].Name, "", labels, "")
	w.buf = append(strconv.AppendUint(b, v, 10), '\n')
}

func (w *writer) float(f id, labels Labels, v float64) {
	w.head(f)
	w.buf = append(appendFloat(appendSeries(w.buf, families[f].Name, "", labels, ""), v), '\n')
}

func appendFloat(b []byte, v float64) []byte {
	if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
		return strconv.AppendInt(b, int64(v), 10)
	}
	return strconv.AppendFloat(b, v, 'g', -1, 64)
}

func (w *writer) histogram(f id, labels Labels, h *histogram) {
	w.head(f)
	var sum uint64
	name, b := families[f].Name, w.buf
	var examples exemplars
	if w.format == OpenMetrics {
		examples = h.examples()
	}
	for i := range h.buckets {
		sum += h.buckets[i].Load()
		b = appendSeries(b, name, "_bucket", labels, bucketLabels[i][w.format])
		b = strconv.AppendUint(b, sum, 10)
		b = append(examples[i].append(b, microsPerMilli), '\n')
	}
	b = appendSeries(b, name, "_sum", labels, "")
	b = append(appendFloat(b, float64(h.micros.Load())/1000), '\n')
	b = appendSeries(b, name, "_count", labels, "")
	w.buf = append(strconv.AppendUint(b, sum, 10), '\n')
}

// bucketLabels are the le labels of a histogram's buckets.
var bucketLabels = func() (out [len(bounds) + 1]boundLabel) {
	for i, bound := range bounds {
		out[i] = newBoundLabel(float64(bound))
	}
	out[len(bounds)] = boundLabel{`le="+Inf"`, `le="+Inf"`}
	return out
}()

// yield writes the formatted text and lets other goroutines run.
func (w *writer) yield() {
	if len(w.buf) >= flushBytes {
		w.flush()
		runtime.Gosched()
	}
}

func (w *writer) flush() {
	if w.err == nil && len(w.buf) > 0 {
		_, w.err = w.out.Write(w.buf)
	}
	w.buf = w.buf[:0]
}
