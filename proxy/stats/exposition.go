package stats

import (
	"io"
	"math"
	"runtime"
	"strconv"
)

// ContentType is the media type of WriteText's output.
const ContentType = "text/plain; version=0.0.4; charset=utf-8"

// flushBytes is how much text is formatted at once. So a scrape of thousands of series needs little memory, and
// requests run in between.
const flushBytes = 8 << 10

// WriteText writes all series in Prometheus's text format 0.0.4. It omits families without series.
func (r *Registry) WriteText(out io.Writer) error {
	s := r.snapshot()
	w := &writer{out: out, buf: make([]byte, 0, flushBytes+1024)}
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
	w.flush()
	return w.err
}

// writer formats series.
type writer struct {
	out    io.Writer
	buf    []byte
	err    error
	headed bool // HELP and TYPE of the current family are written
}

func (w *writer) begin(id) { w.headed = false }

func (w *writer) head(f id) {
	if w.headed {
		return
	}
	w.headed = true
	family := &families[f]
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

// series writes a name with labels and the space before the value.
func (w *writer) series(f id, suffix string, labels, more Labels) {
	w.buf = append(w.buf, families[f].Name...)
	w.buf = append(w.buf, suffix...)
	if labels != "" || more != "" {
		w.buf = append(w.buf, '{')
		w.buf = append(w.buf, labels...)
		if labels != "" && more != "" {
			w.buf = append(w.buf, ',')
		}
		w.buf = append(w.buf, more...)
		w.buf = append(w.buf, '}')
	}
	w.buf = append(w.buf, ' ')
}

func (w *writer) value(f id, labels Labels, v uint64) {
	w.head(f)
	w.series(f, "", labels, "")
	w.buf = append(strconv.AppendUint(w.buf, v, 10), '\n')
}

func (w *writer) float(f id, labels Labels, v float64) {
	w.head(f)
	w.series(f, "", labels, "")
	w.buf = append(appendFloat(w.buf, v), '\n')
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
	for i := range h.buckets {
		sum += h.buckets[i].Load()
		w.series(f, "_bucket", labels, bucketLabels[i])
		w.buf = append(strconv.AppendUint(w.buf, sum, 10), '\n')
	}
	w.series(f, "_sum", labels, "")
	w.buf = append(appendFloat(w.buf, float64(h.micros.Load())/1000), '\n')
	w.series(f, "_count", labels, "")
	w.buf = append(strconv.AppendUint(w.buf, sum, 10), '\n')
}

// bucketLabels are the le labels of a histogram's buckets.
var bucketLabels = func() (out [len(bounds) + 1]Labels) {
	for i, bound := range bounds {
		out[i] = Labels(`le="` + strconv.Itoa(int(bound)) + `"`)
	}
	out[len(bounds)] = `le="+Inf"`
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
