package trace

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tulle-mesh/tulle/proxy/message"
)

const (
	someTrace = "0af7651916cd43dd8448eb211c80319c"
	someSpan  = "b7ad6b7169203331"
)

// head returns a request with fields, each "name: value".
func head(lines ...string) *message.Head {
	h := &message.Head{}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		h.Add(name, value)
	}
	return h
}

// read is a spanContext as a test writes it.
type read struct {
	Trace, Parent string
	Decision      decision
	State         string
}

func readOf(h *message.Head) read {
	c := readContext(h)
	r := read{Decision: c.decision, State: string(c.state)}
	if c.trace != (traceID{}) {
		r.Trace, r.Parent = hex.EncodeToString(c.trace[:]), hex.EncodeToString(c.parent[:])
	}
	return r
}

func TestReadContext(t *testing.T) {
	parent := "traceparent: 00-" + someTrace + "-" + someSpan
	ok := func(d decision) read { return read{Trace: someTrace, Parent: someSpan, Decision: d} }
	for _, tt := range []struct {
		name  string
		lines []string
		want  read
	}{
		{"none", []string{"accept: text/html"}, read{}},
		{"sampled", []string{parent + "-01"}, ok(sample)},
		{"not sampled", []string{parent + "-00"}, ok(drop)},
		{"any case of the name", []string{"Trace" + parent[5:] + "-01"}, ok(sample)},
		{"other flags", []string{parent + "-ff"}, ok(sample)},
		{"state", []string{parent + "-01", "tracestate: a=1,b=2"}, read{someTrace, someSpan, sample, "a=1,b=2"}},
		{"state in two lines", []string{parent + "-01", "tracestate: a=1", "tracestate: b=2"}, ok(sample)},
		{"state too long", []string{parent + "-01", "tracestate: a=" + strings.Repeat("x", maxState)}, ok(sample)},
		{"later version", []string{"traceparent: cc-" + parent[16:] + "-01-what-the-future-brings"}, ok(sample)},
		{"later version, nothing more", []string{"traceparent: cc-" + parent[16:] + "-01"}, ok(sample)},
		{"later version, not cut", []string{"traceparent: cc-" + parent[16:] + "-01.more"}, read{}},
		{"version ff", []string{"traceparent: ff-" + parent[16:] + "-01"}, read{}},
		{"version 00 and more", []string{parent + "-01-more"}, read{}},
		{"version 00 and a dash", []string{parent + "-01-"}, read{}},
		{"no flags", []string{parent}, read{}},
		{"flags of one digit", []string{parent + "-1"}, read{}},
		{"flags that are no number", []string{parent + "-0g"}, read{}},
		{"upper case", []string{strings.ToUpper(parent) + "-01"}, read{}},
		{"upper case trace", []string{"traceparent: 00-" + strings.ToUpper(someTrace) + "-" + someSpan + "-01"}, read{}},
		{"trace of zeros", []string{"traceparent: 00-" + strings.Repeat("0", 32) + "-" + someSpan + "-01"}, read{}},
		{"parent of zeros", []string{"traceparent: 00-" + someTrace + "-" + strings.Repeat("0", 16) + "-01"}, read{}},
		{"two traceparents", []string{parent + "-01", parent + "-01"}, read{}},
		{"empty", []string{"traceparent: "}, read{}},

		{"b3 sampled", []string{"b3: " + someTrace + "-" + someSpan + "-1"}, ok(sample)},
		{"b3 debug", []string{"b3: " + someTrace + "-" + someSpan + "-d"}, ok(debug)},
		{"b3 not sampled", []string{"b3: " + someTrace + "-" + someSpan + "-0"}, ok(drop)},
		{"b3 undecided", []string{"b3: " + someTrace + "-" + someSpan}, ok(undecided)},
		{"b3 with a parent", []string{"b3: " + someTrace + "-" + someSpan + "-1-05e3ac9a4f6e3b90"}, ok(sample)},
		{"b3 of 64 bits", []string{"b3: " + someTrace[16:] + "-" + someSpan + "-1"},
			read{Trace: strings.Repeat("0", 16) + someTrace[16:], Parent: someSpan, Decision: sample}},
		{"b3, the decision alone", []string{"b3: 1"}, read{Decision: sample}},
		{"b3, the decision against alone", []string{"b3: 0"}, read{Decision: drop}},
		{"b3 cut off", []string{"b3: " + someTrace + "-" + someSpan + "-"}, read{}},
		{"b3, a bad decision", []string{"b3: " + someTrace + "-" + someSpan + "-x"}, read{}},
		{"b3, a bad parent", []string{"b3: " + someTrace + "-" + someSpan + "-1-05e3"}, read{}},
		{"b3, a word", []string{"b3: sampled"}, read{}},

		{"fields of b3", []string{"X-B3-TraceId: " + someTrace, "X-B3-SpanId: " + someSpan, "X-B3-Sampled: 1"}, ok(sample)},
		{"fields of b3, older word", []string{"x-b3-traceid: " + someTrace, "x-b3-spanid: " + someSpan,
			"x-b3-sampled: false"},
			ok(drop)},
		{"fields of b3, debug", []string{"x-b3-traceid: " + someTrace, "x-b3-spanid: " + someSpan, "x-b3-flags: 1"},
			ok(debug)},
		{"fields of b3, the decision alone", []string{"x-b3-sampled: 0"}, read{Decision: drop}},
		{"fields of b3, no span", []string{"x-b3-traceid: " + someTrace, "x-b3-sampled: 1"}, read{Decision: sample}},

		{"traceparent wins", []string{"b3: 1", parent + "-00"}, ok(drop)},
		{"b3 where traceparent makes no sense", []string{"traceparent: x", "b3: " + someTrace + "-" + someSpan + "-1"},
			ok(sample)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, readOf(head(tt.lines...))); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// TestWriteContext writes what a hop passes on, in the fields by which the context came.
func TestWriteContext(t *testing.T) {
	const own = "00f067aa0ba902b7"
	var id spanID
	if _, err := hex.Decode(id[:], []byte(own)); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name        string
		lines, want []string
	}{
		{"traceparent", []string{"traceparent: 00-" + someTrace + "-" + someSpan + "-03", "tracestate: a=1"},
			[]string{"traceparent: 00-" + someTrace + "-" + own + "-03", "tracestate: a=1"}},
		{"b3", []string{"b3: " + someTrace + "-" + someSpan + "-d"},
			[]string{"b3: " + someTrace + "-" + own + "-d-" + someSpan}},
		{"b3 of 64 bits", []string{"b3: " + someTrace[16:] + "-" + someSpan + "-1"},
			[]string{"b3: " + someTrace[16:] + "-" + own + "-1-" + someSpan}},
		{"fields of b3, debug", []string{"x-b3-traceid: " + someTrace, "x-b3-spanid: " + someSpan, "x-b3-flags: 1"},
			[]string{"x-b3-traceid: " + someTrace, "x-b3-spanid: " + own, "x-b3-flags: 1", "x-b3-parentspanid: " + someSpan}},
		{"both", []string{
			"traceparent: 00-" + someTrace + "-" + someSpan + "-01", "b3: " + someTrace + "-" + someSpan + "-0",
		}, []string{"traceparent: 00-" + someTrace + "-" + own + "-01", "b3: " + someTrace + "-" + own + "-1-" + someSpan}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := head(tt.lines...)
			c := readContext(h)
			c.write(h, id, false)
			c.write(h, id, true) // changes nothing
			var got []string
			for name, value := range h.All() {
				got = append(got, string(name)+": "+string(value))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// TestRetryKeepsFieldsAway has a filter remove the context after the first attempt wrote it.
func TestRetryKeepsFieldsAway(t *testing.T) {
	h := head("traceparent: 00-" + someTrace + "-" + someSpan + "-01")
	c := readContext(h)
	h.Del("traceparent")
	c.write(h, newSpanID(), true)
	if h.Len() != 0 {
		t.Errorf("the field is back")
	}
}

// FuzzTraceparent holds what is accepted to what W3C Trace Context says, and what is written to what is accepted.
func FuzzTraceparent(f *testing.F) {
	for _, v := range []string{
		"00-" + someTrace + "-" + someSpan + "-01", "cc-" + someTrace + "-" + someSpan + "-01-x", "", "00-",
		"ff-" + someTrace,
	} {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, v string) {
		h := &message.Head{}
		h.Add(traceparentField, v)
		c := readContext(h)
		if c.trace == (traceID{}) {
			if c.parent != (spanID{}) || c.decision != undecided {
				t.Errorf("%q: a part of it was accepted: %+v", v, c)
			}
			return
		}
		if !strings.HasPrefix(v[2:], "-"+hex.EncodeToString(c.trace[:])+"-"+hex.EncodeToString(c.parent[:])+"-") {
			t.Errorf("%q was read as %x-%x", v, c.trace, c.parent)
		}
		span := newSpanID()
		c.write(h, span, false)
		again := readContext(h)
		if again.trace != c.trace || again.parent != span || again.decision != c.decision || h.Len() != 1 {
			t.Errorf("%q: wrote %v, want the same trace", v, again)
		}
	})
}

// FuzzB3 does the same for b3 in one field, and in several.
func FuzzB3(f *testing.F) {
	f.Add(someTrace+"-"+someSpan+"-1-05e3ac9a4f6e3b90", "", "", "")
	f.Add("", someTrace, someSpan, "1")
	f.Add("d", someTrace[16:], someSpan, "true")
	f.Fuzz(func(t *testing.T, single, trace, span, sampled string) {
		h := &message.Head{}
		for name, value := range map[string]string{
			b3Field: single, b3TraceField: trace, b3SpanField: span, b3SampledField: sampled,
		} {
			if value != "" {
				h.Add(name, value)
			}
		}
		c := readContext(h)
		if c.trace == (traceID{}) {
			return
		}
		own := newSpanID()
		c.write(h, own, false)
		again := readContext(h)
		want := c.decision
		if want == undecided { // a decision is always written
			want = drop
		}
		if again.trace != c.trace || again.parent != own || again.decision != want || again.short != c.short {
			t.Errorf("%q, %q, %q, %q: wrote %+v, want %+v", single, trace, span, sampled, again, c)
		}
	})
}
