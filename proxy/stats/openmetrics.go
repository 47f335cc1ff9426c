package stats

import (
	"mime"
	"strconv"
	"strings"
)

// Format is a text format of a scrape.
type Format uint8

// The formats.
const (
	Text        Format = iota // Prometheus's text format 0.0.4
	OpenMetrics               // OpenMetrics 1.0, which has exemplars
	formats
)

// ContentType returns the format's media type.
func (f Format) ContentType() string {
	if f == OpenMetrics {
		return "application/openmetrics-text; version=1.0.0; charset=utf-8"
	}
	return "text/plain; version=0.0.4; charset=utf-8"
}

// Negotiate returns the format that a client prefers, from the values of its Accept header (RFC 9110 §12.5.1). At equal
// weights it is the one that the client names first, as in Prometheus's own clients. A client that names neither gets
// Text: "*/*" is what tools send that read lines.
func Negotiate(accept []string) Format {
	best, weight := Text, 0.0
	for part := range strings.SplitSeq(strings.Join(accept, ","), ",") {
		kind, params, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		format, ok := formatOf(kind, params["version"])
		if q := weightOf(params["q"]); ok && q > weight {
			best, weight = format, q
		}
	}
	return best
}

func formatOf(kind, version string) (f Format, ok bool) {
	switch kind {
	case "text/plain":
		return Text, version == "" || version == "0.0.4" || version == "1.0.0" // 1.0.0 only allows more names
	case "application/openmetrics-text":
		return OpenMetrics, version == "" || version == "1.0.0"
	}
	return 0, false
}

// weightOf returns the value of a q parameter; 0 if it makes no sense.
func weightOf(q string) float64 {
	if q == "" {
		return 1
	}
	v, err := strconv.ParseFloat(q, 64)
	if err != nil || v < 0 || v > 1 {
		return 0
	}
	return v
}

var helpEscaper = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)

// openMetrics returns the family's metadata as OpenMetrics has it: a counter's name is without the suffix of its
// series, and one that lacks the suffix has no type.
func (f Family) openMetrics() Family {
	if f.Type == CounterType {
		name, ok := strings.CutSuffix(f.Name, "_total")
		if f.Name = name; !ok {
			f.Type = "unknown"
		}
	}
	f.Help = helpEscaper.Replace(f.Help)
	return f
}

// boundLabel is the le label of one bucket in each format.
type boundLabel [formats]Labels

// newBoundLabel returns the label of an upper bound. OpenMetrics wants a point in it: le="1.0".
func newBoundLabel(bound float64) (l boundLabel) {
	text := strconv.FormatFloat(bound, 'f', -1, 64)
	l[Text] = Labels("").With("le", text)
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	l[OpenMetrics] = Labels("").With("le", text)
	return l
}
