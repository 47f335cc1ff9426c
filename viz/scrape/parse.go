package scrape

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// series is one line of a scrape.
type series struct {
	labelText string // the labels as written; a proxy always writes those of one series in the same order
	labels    []label
	value     float64
}

type label struct{ name, value string }

// parse reads Prometheus's text format 0.0.4 and calls use for each series of the wanted metrics. Buckets, sums and
// counts of histograms are metrics of their own, so types do not matter. Of other lines it reads the first word only.
// prometheus/common/expfmt would take ten times the CPU and fifty times the allocations, for hundreds of proxies.
func parse(in io.Reader, wanted map[string]bool, maxBytes int64, use func(metric string, s series) error) error {
	r := bufio.NewReaderSize(&limitedReader{in, maxBytes, maxBytes}, 16<<10)
	var whole []byte // a line that is longer than the buffer of r
	for n := 1; ; n++ {
		line, err := r.ReadSlice('\n')
		if n == 1 && len(line) > 0 && line[0] != '#' && line[0] != '\n' && !nameByte(line[0]) {
			return errors.New("read metrics: the answer is not in Prometheus's text format")
		}
		name := line[:nameEnd(line)]
		keep := len(name) > 0 && wanted[string(name)]
		if err == bufio.ErrBufferFull {
			whole, err = readRest(r, append(whole[:0], line...), keep)
			line, name = whole, whole[:len(name)]
		}
		if err == io.EOF && len(line) == 0 && n > 1 {
			return nil
		}
		if err == io.EOF && n == 1 && len(line) == 0 {
			return errors.New("read metrics: the answer is empty")
		}
		if err == io.EOF {
			return fmt.Errorf("parse metrics: line %d: the answer ends within it", n)
		}
		if err != nil {
			return fmt.Errorf("read metrics: %w", err)
		}
		if !keep {
			continue
		}
		s, err := parseSeries(string(line[len(name) : len(line)-1]))
		if err != nil {
			return fmt.Errorf("parse metrics: line %d: %w", n, err)
		}
		if err := use(string(name), s); err != nil {
			return err
		}
	}
}

// readRest reads to the end of a line that has begun, and appends it to begun if it is wanted.
func readRest(r *bufio.Reader, begun []byte, keep bool) ([]byte, error) {
	for {
		part, err := r.ReadSlice('\n')
		if keep {
			begun = append(begun, part...)
		}
		if err != bufio.ErrBufferFull {
			return begun, err
		}
	}
}

// nameEnd returns the length of the metric's name with which a line begins.
func nameEnd(line []byte) int {
	return max(bytes.IndexFunc(line, func(r rune) bool { return r == '{' || r == ' ' || r == '\t' || r == '\n' }), 0)
}

func nameByte(c byte) bool {
	return c == '_' || c == ':' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// parseSeries reads what follows a metric's name: labels, a value and perhaps a time, which does not matter here.
func parseSeries(text string) (s series, err error) {
	text = strings.TrimLeft(text, " \t")
	rest := text
	if strings.HasPrefix(rest, "{") {
		if s.labels, rest, err = parseLabels(rest[1:]); err != nil {
			return s, err
		}
		s.labelText = text[:len(text)-len(rest)]
	}
	fields := strings.Fields(rest)
	if len(fields) < 1 || len(fields) > 2 {
		return s, fmt.Errorf("%d words after the labels: want a value and perhaps a time", len(fields))
	}
	if s.value, err = strconv.ParseFloat(fields[0], 64); err != nil {
		return s, fmt.Errorf("value %q: not a number", fields[0])
	}
	return s, nil
}

// parseLabels reads labels and the brace that ends them, and returns what follows.
func parseLabels(text string) (labels []label, rest string, err error) {
	labels = make([]label, 0, strings.Count(text, `="`))
	for rest = strings.TrimLeft(text, " \t"); !strings.HasPrefix(rest, "}"); {
		name, after, ok := strings.Cut(rest, "=")
		after = strings.TrimLeft(after, " \t")
		if !ok || !strings.HasPrefix(after, `"`) {
			return nil, "", errors.New("labels do not end")
		}
		l := label{name: strings.TrimSpace(name)}
		if l.value, rest, err = parseValue(after[1:]); err != nil {
			return nil, "", fmt.Errorf("label %q: %w", l.name, err)
		}
		labels = append(labels, l)
		rest = strings.TrimLeft(rest, " \t")
		if next, comma := strings.CutPrefix(rest, ","); comma {
			rest = strings.TrimLeft(next, " \t")
		} else if !strings.HasPrefix(rest, "}") {
			return nil, "", fmt.Errorf("label %q: want a comma or a brace after it", l.name)
		}
	}
	return labels, rest[1:], nil
}

// parseValue reads a label's value and the quote that ends it, and returns what follows.
func parseValue(text string) (value, rest string, err error) {
	end := strings.IndexAny(text, `"\`)
	if end >= 0 && text[end] == '"' {
		return text[:end], text[end+1:], nil
	}
	var b strings.Builder
	for end >= 0 {
		b.WriteString(text[:end])
		if text[end] == '"' {
			return b.String(), text[end+1:], nil
		}
		if end+1 == len(text) {
			break
		}
		switch c := text[end+1]; c {
		case 'n':
			b.WriteByte('\n')
		case '"', '\\':
			b.WriteByte(c)
		default:
			return "", "", fmt.Errorf("escape \\%c: want \\\\, \\\" or \\n", c)
		}
		text = text[end+2:]
		end = strings.IndexAny(text, `"\`)
	}
	return "", "", errors.New("its value does not end")
}

// limitedReader is a reader that fails after a number of bytes. io.LimitReader would cut the text off silently.
type limitedReader struct {
	in        io.Reader
	left, max int64
}

// Read implements io.Reader.
func (l *limitedReader) Read(p []byte) (int, error) {
	n, err := l.in.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return 0, fmt.Errorf("more than %d bytes", l.max)
	}
	return n, err
}
