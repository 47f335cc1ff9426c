package h1

import (
	"bytes"

	"github.com/tulle-mesh/tulle/proxy/message"
)

// ParseResponse reads a complete head, as Scanner found it, into h, which must be empty. method is the request's;
// wantTunnel means that the request asked for an upgrade. A 101 without such a request is an error.
func ParseResponse(head []byte, h *message.Head, method []byte, wantTunnel bool) (Framing, error) {
	h.Store(head)
	block := h.Arena()
	end := bytes.IndexByte(block, '\n') + 1
	if err := statusLine(h, block[:end-2]); err != nil {
		return Framing{}, err
	}
	if err := parseFields(h, end, Response); err != nil {
		return Framing{}, err
	}
	f := hop{kind: Response}
	if err := f.collect(h); err != nil {
		return Framing{}, err
	}
	if f.hosts > 0 {
		h.AddBytes([]byte("host"), f.host)
	}
	if err := f.finish(h); err != nil {
		return Framing{}, err
	}
	return f.response(h, method, wantTunnel)
}

// response applies the order of RFC 9112 §6.3.
func (f *hop) response(h *message.Head, method []byte, wantTunnel bool) (Framing, error) {
	out := Framing{Bound: f.bound, Close: f.close || h.Version == message.HTTP10 && !f.keepAlive}
	connect := string(method) == "CONNECT"
	switch {
	case h.Status == 101:
		if !wantTunnel {
			return out, ErrStatus
		}
		h.Place(message.Protocol, h.Store(f.token))
		out.Coding = Tunnel
	case h.Status < 200:
		h.Del("content-length")
	case connect && h.Status < 300:
		h.Del("content-length")
		out.Coding = Tunnel
	case string(method) == "HEAD" || h.Status == 304:
	case h.Status == 204:
		h.Del("content-length")
	case f.chunked:
		out.Coding = Chunked
	case f.length > 0:
		out.Coding, out.Length = Length, f.length
	case f.length < 0:
		out.Coding, out.Close = UntilClose, true
	}
	return out, nil
}

// statusLine reads HTTP-version SP status-code SP [reason], RFC 9112 §4. The space may be missing if there is no
// reason: servers often forget it, and the line has only one meaning.
func statusLine(h *message.Head, line []byte) error {
	if !message.IsFieldValue(line) {
		return valueError(line)
	}
	if len(line) < 12 || line[8] != ' ' || len(line) > 12 && line[12] != ' ' {
		return ErrStartLine
	}
	switch string(line[:8]) {
	case "HTTP/1.1":
		h.Version = message.HTTP11
	case "HTTP/1.0":
		h.Version = message.HTTP10
	default:
		return ErrVersion
	}
	for _, c := range line[9:12] {
		if c < '0' || c > '9' {
			return ErrStatus
		}
		h.Status = h.Status*10 + int(c-'0')
	}
	if h.Status < 100 { // clients read a status above 599 as 5xx, RFC 9110 §15

		return ErrStatus
	}
	return nil
}
