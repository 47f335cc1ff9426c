// Package trace makes spans of the requests that a proxy forwards, and sends them to a collector.
//
// It owns the trace context of a request (W3C Trace Context and b3), the sampling decision, spans in OTLP's encoding,
// and the exporter with its bounded queue. It must not decide anything about traffic, and knows no direction's own
// types: proxy/inbound and proxy/outbound fill the spans. The one idea: without a Tracer a request costs the test of a
// nil pointer. With one, a request that is not sampled costs the reading of its fields, and a span is dropped rather
// than waited with.
package trace

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"

	"github.com/tulle-mesh/tulle/proxy/message"
)

type (
	traceID [16]byte
	spanID  [8]byte
)

func newTraceID() (id traceID) {
	for id == (traceID{}) {
		binary.BigEndian.PutUint64(id[:8], rand.Uint64())
		binary.BigEndian.PutUint64(id[8:], rand.Uint64())
	}
	return id
}

func newSpanID() (id spanID) {
	for id == (spanID{}) {
		binary.BigEndian.PutUint64(id[:], rand.Uint64())
	}
	return id
}

// formats are the kinds of fields that carry a trace context.
type formats uint8

const (
	w3c      formats = 1 << iota // traceparent and tracestate, W3C Trace Context
	b3Single                     // b3
	b3Multi                      // X-B3-*
)

// decision is what a caller says about sampling.
type decision uint8

const (
	undecided decision = iota
	drop
	sample
	debug // b3: sampled whatever the samplers say
)

// spanContext is the trace that a request belongs to, as its caller says.
type spanContext struct {
	trace    traceID // zero: none
	parent   spanID
	decision decision
	flags    byte    // those of a traceparent that are passed on
	carried  formats // by which fields; also by ones that make no sense
	short    bool    // the trace ID came with 64 bits, as b3 allows
	state    []byte  // tracestate in the request's head, if one line has all of it
}

const (
	traceparentField = "traceparent"
	tracestateField  = "tracestate"
	b3Field          = "b3"
	b3TraceField     = "x-b3-traceid"
	b3SpanField      = "x-b3-spanid"
	b3ParentField    = "x-b3-parentspanid"
	b3SampledField   = "x-b3-sampled"
	b3FlagsField     = "x-b3-flags"
)

const (
	sampledFlag = 0x01 // W3C Trace Context §3.2.2.5.1
	randomFlag  = 0x02 // level 2: the trace ID's last 7 bytes are random
)

// fields are the values of the fields that carry a context.
type fields struct {
	parents, states                     int
	parent, state, single               []byte
	b3Trace, b3Span, b3Sampled, b3Flags []byte
}

// readFields finds the fields of a head in one pass.
func readFields(h *message.Head) (f fields) {
	for i := range h.Len() {
		name, value := h.Field(i)
		switch len(name) {
		case len(b3Field):
			if message.EqualFold(name, b3Field) {
				f.single = value
			}
		case len(traceparentField): // x-b3-spanid is as long
			switch {
			case message.EqualFold(name, traceparentField):
				f.parent = value
				f.parents++
			case message.EqualFold(name, b3SpanField):
				f.b3Span = value
			}
		case len(tracestateField): // x-b3-flags is as long
			switch {
			case message.EqualFold(name, tracestateField):
				f.state = value
				f.states++
			case message.EqualFold(name, b3FlagsField):
				f.b3Flags = value
			}
		case len(b3TraceField): // x-b3-sampled is as long
			switch {
			case message.EqualFold(name, b3TraceField):
				f.b3Trace = value
			case message.EqualFold(name, b3SampledField):
				f.b3Sampled = value
			}
		}
	}
	return f
}

// readContext returns the context of a request. A valid traceparent wins over b3, and b3 in one field over several. A
// context that makes no sense counts as none (W3C Trace Context §4.3).
func readContext(h *message.Head) (c spanContext) {
	f := readFields(h)
	if f.parents > 0 {
		c.carried |= w3c
	}
	if f.single != nil {
		c.carried |= b3Single
	}
	if f.b3Trace != nil || f.b3Sampled != nil || f.b3Flags != nil {
		c.carried |= b3Multi
	}
	if c.carried == 0 {
		return c
	}
	if f.parents == 1 && c.parseTraceparent(f.parent) {
		if f.states == 1 && len(f.state) <= maxState {
			c.state = f.state
		}
		return c
	}
	if f.single != nil && c.parseB3(f.single) {
		return c
	}
	if c.carried&b3Multi != 0 {
		c.parseB3Multi(&f)
	}
	return c
}

// parseTraceparent reads a traceparent, W3C Trace Context §3.2.2. It changes nothing if the value is not valid.
func (c *spanContext) parseTraceparent(v []byte) bool {
	const length = 2 + 1 + 32 + 1 + 16 + 1 + 2
	if len(v) < length || v[2] != '-' || v[35] != '-' || v[52] != '-' {
		return false
	}
	var version, flags [1]byte
	var trace traceID
	var parent spanID
	if !lowerHex(version[:], v[:2]) || !lowerHex(trace[:], v[3:35]) || !lowerHex(parent[:], v[36:52]) ||
		!lowerHex(flags[:], v[53:55]) {
		return false
	}
	switch {
	case version[0] == 0xff, version[0] == 0 && len(v) != length, len(v) > length && v[length] != '-':
		return false
	case trace == traceID{}, parent == spanID{}:
		return false
	}
	c.trace, c.parent, c.flags, c.decision = trace, parent, flags[0]&(sampledFlag|randomFlag), drop
	if flags[0]&sampledFlag != 0 {
		c.decision = sample
	}
	return true
}

// parseB3 reads b3 in one field: traceid-spanid[-sampling[-parentspanid]], or the sampling alone. It changes nothing if
// the value is not valid.
func (c *spanContext) parseB3(v []byte) bool {
	if d, ok := parseSampling(v); ok {
		c.decision = d
		return true
	}
	ids := 32 + 1 + 16
	if len(v) > 16 && v[16] == '-' {
		ids = 16 + 1 + 16
	}
	if len(v) < ids || v[ids-17] != '-' {
		return false
	}
	var d decision
	if rest := v[ids:]; len(rest) > 0 {
		if len(rest) < 2 || rest[0] != '-' {
			return false
		}
		var ok bool
		d, ok = parseSampling(rest[1:2])
		var grandparent spanID
		if rest = rest[2:]; !ok || len(rest) > 0 && (len(rest) != 17 || rest[0] != '-' || !anyHex(grandparent[:], rest[1:])) {
			return false
		}
	}
	return c.setB3(v[:ids-17], v[ids-16:ids], d)
}

// parseB3Multi reads b3 in several fields.
func (c *spanContext) parseB3Multi(f *fields) {
	var d decision
	if f.b3Sampled != nil {
		d, _ = parseSampling(f.b3Sampled)
	}
	if string(f.b3Flags) == "1" {
		d = debug
	}
	if f.b3Trace == nil || !c.setB3(f.b3Trace, f.b3Span, d) {
		c.decision = d
	}
}

func (c *spanContext) setB3(trace, parent []byte, d decision) bool {
	var id traceID
	var span spanID
	short := len(trace) == 16
	if short && !anyHex(id[8:], trace) || !short && !anyHex(id[:], trace) || !anyHex(span[:], parent) ||
		id == (traceID{}) || span == (spanID{}) {
		return false
	}
	c.trace, c.parent, c.decision, c.short = id, span, d, short
	return true
}

// parseSampling reads a sampling state of b3; the words are those of older libraries.
func parseSampling(v []byte) (decision, bool) {
	switch string(v) {
	case "0", "false":
		return drop, true
	case "1", "true":
		return sample, true
	case "d":
		return debug, true
	}
	return undecided, false
}

func lowerHex(dst, src []byte) bool {
	for _, c := range src {
		if 'A' <= c && c <= 'F' {
			return false
		}
	}
	return anyHex(dst, src)
}

func anyHex(dst, src []byte) bool {
	if len(src) != 2*len(dst) {
		return false
	}
	_, err := hex.Decode(dst, src)
	return err == nil
}

// write makes span the parent of what the next hop does, in the fields by which the context came. A new context goes
// into a traceparent. again says that a retry replaces what the first attempt wrote: a field that a filter has removed
// since stays away.
func (c *spanContext) write(h *message.Head, span spanID, again bool) {
	var text [2 * len(traceID{})]byte
	var own [2 * len(spanID{})]byte
	hex.Encode(text[:], c.trace[:])
	hex.Encode(own[:], span[:])
	trace := text[:]
	if c.short {
		trace = text[16:]
	}
	var buffer [80]byte
	if (c.carried == 0 || c.carried&w3c != 0) && (!again || h.Has(traceparentField)) {
		v := append(append(append(buffer[:0], "00-"...), text[:]...), '-')
		v = append(append(v, own[:]...), '-', '0', '0'+c.flags)
		h.SetBytes(traceparentField, v)
	}
	if c.carried&b3Single != 0 && (!again || h.Has(b3Field)) {
		v := append(append(append(buffer[:0], trace...), '-'), own[:]...)
		v = append(v, '-', c.decision.b3())
		if c.parent != (spanID{}) {
			v = hex.AppendEncode(append(v, '-'), c.parent[:])
		}
		h.SetBytes(b3Field, v)
	}
	if c.carried&b3Multi != 0 && (!again || h.Has(b3TraceField)) {
		h.SetBytes(b3TraceField, trace)
		h.SetBytes(b3SpanField, own[:])
		if c.parent != (spanID{}) {
			h.SetBytes(b3ParentField, hex.AppendEncode(buffer[:0], c.parent[:]))
		}
		if c.decision != debug { // X-B3-Flags says it
			h.SetBytes(b3SampledField, append(buffer[:0], c.decision.b3()))
		}
	}
}

func (d decision) b3() byte {
	switch d {
	case sample:
		return '1'
	case debug:
		return 'd'
	default:
		return '0'
	}
}
