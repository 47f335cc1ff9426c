package h2

import (
	"strconv"

	"github.com/tulle-mesh/tulle/proxy/hpack"
	"github.com/tulle-mesh/tulle/proxy/message"
)

// Kind is what a header list is for.
type Kind uint8

// The kinds of header list.
const (
	Request Kind = iota
	Response
	Trailers
)

// HeadReader validates a header list (RFC 9113 §8) while the decoder reads it into a head. It is a hpack.Sink. Call
// Begin before each list.
type HeadReader struct {
	// Length is the content length that the list declares; -1 without one.
	Length int64

	h       *message.Head
	kind    Kind
	pseudos uint8
	zeros   bool // content-length has leading zeros
	regular bool
	cookies int
	host    message.Span
	hosts   int
	status  message.Span
	reason  string
}

// Begin prepares to read a list of the given kind into h.
func (r *HeadReader) Begin(h *message.Head, k Kind) {
	*r = HeadReader{Length: -1, h: h, kind: k}
	h.Version = message.HTTP2
}

const (
	sawMethod = 1 << iota
	sawScheme
	sawAuthority
	sawPath
	sawProtocol
	sawStatus
)

// Field implements hpack.Sink.
func (r *HeadReader) Field(name, value message.Span) {
	if r.reason != "" {
		return
	}
	n, v := r.h.Bytes(name), r.h.Bytes(value)
	if len(n) > 0 && n[0] == ':' {
		r.pseudo(n, v, value)
		return
	}
	r.regular = true
	if len(n) == 0 || !message.IsLowerToken(n) {
		r.reason = "field_name"
		return
	}
	if !message.IsFieldValue(v) || len(v) > 0 && (space(v[0]) || space(v[len(v)-1])) {
		r.reason = "field_value"
		return
	}
	if r.special(n, v, value) || r.kind == Trailers && !message.AllowedTrailer(n) {
		return
	}
	r.h.Append(name, value)
}

// Wants implements hpack.Sink. The content type decides the form of the error response, even if the list is too large.
func (r *HeadReader) Wants(name []byte) bool {
	return r.kind == Request && string(name) == "content-type"
}

func space(c byte) bool { return c == ' ' || c == '\t' }

func (r *HeadReader) pseudo(name, v []byte, value message.Span) {
	bit := uint8(0)
	part := message.Part(0)
	switch string(name) {
	case ":method":
		bit, part = sawMethod, message.Method
	case ":scheme":
		bit, part = sawScheme, message.Scheme
	case ":authority":
		bit, part = sawAuthority, message.Authority
	case ":path":
		bit, part = sawPath, message.Path
	case ":protocol":
		bit, part = sawProtocol, message.Protocol
	case ":status":
		bit = sawStatus
		r.status = value
	}
	wanted := r.kind == Request && bit != sawStatus || r.kind == Response && bit == sawStatus
	switch {
	case bit == 0 || !wanted || r.regular || r.pseudos&bit != 0:
		r.reason = "pseudo_header" // unknown, misplaced, late or twice: RFC 9113 §8.3
	case bit != sawStatus:
		r.h.Place(part, value)
	}
	r.pseudos |= bit
	if part == message.Authority && bit == sawAuthority && !message.IsHost(v) {
		r.reason = "authority"
	}
}

// special reads the fields that have a meaning for the connection or the message's framing, RFC 9113 §8.2.2 and §8.1.1.
func (r *HeadReader) special(name, v []byte, value message.Span) (taken bool) {
	bad := false
	switch len(name) {
	case 2:
		bad = string(name) == "te" && string(v) != "trailers"
	case 4:
		if string(name) == "host" && r.kind == Request {
			r.host = value
			r.hosts++
			return true
		}
	case 6:
		if string(name) == "cookie" {
			r.cookies++
		}
	case 7:
		bad = string(name) == "upgrade"
	case 10:
		bad = string(name) == "connection" || string(name) == "keep-alive"
	case 14:
		if string(name) == "content-length" {
			return r.contentLength(v)
		}
	case 16:
		bad = string(name) == "proxy-connection"
	case 17:
		bad = string(name) == "transfer-encoding"
	}
	if bad {
		r.reason = "connection_field"
	}
	return false
}

func (r *HeadReader) contentLength(v []byte) (taken bool) {
	n, ok := message.ParseLength(v)
	if !ok || r.Length >= 0 && r.Length != n || r.kind == Trailers {
		r.reason = "content_length"
		return false
	}
	if taken = r.Length >= 0; !taken {
		r.zeros = len(v) > 1 && v[0] == '0'
	}
	r.Length = n
	return taken
}

// End checks the list as a whole. It returns "" if the message is well-formed, otherwise the reason why it is
// malformed, RFC 9113 §8.1.1.
func (r *HeadReader) End() (reason string) {
	if r.reason != "" {
		return r.reason
	}
	if r.zeros {
		r.h.Set("content-length", strconv.FormatInt(r.Length, 10)) // some parsers read a leading zero as octal
	}
	switch r.kind {
	case Request:
		reason = r.request()
	case Response:
		reason = r.response()
	}
	if reason == "" && r.cookies > 1 {
		r.joinCookies()
	}
	return reason
}

// BodyLength returns the length of the body that a response's list announces; -1 if it is not known. HEAD, 204 and 304
// have no body: their content-length is that of another response (RFC 9110 §6.4.1).
func (r *HeadReader) BodyLength(method []byte) int64 {
	if status := r.h.Status; status == 204 || status == 304 || string(method) == "HEAD" {
		return 0
	}
	return r.Length
}

func (r *HeadReader) request() (reason string) {
	h := r.h
	if r.hosts > 1 || r.hosts == 1 && !message.IsHost(h.Bytes(r.host)) {
		return "host"
	}
	if r.hosts == 1 {
		switch a := h.Authority(); {
		case len(a) == 0:
			h.Place(message.Authority, r.host)
		case !message.SameAuthority(h.Part(message.Scheme), a, h.Bytes(r.host)):
			return "host_mismatch" // RFC 9113 §8.3.1; if they agree, only :authority is forwarded
		}
	}
	if m := h.Method(); len(m) == 0 || !message.IsToken(m) {
		return "method"
	}
	connect := string(h.Method()) == "CONNECT"
	if connect && r.Length > 0 {
		return "connect_body" // RFC 9110 §9.3.6
	}
	if r.pseudos&sawProtocol != 0 && (!connect || !message.MayUpgrade(h.Part(message.Protocol))) {
		return "protocol"
	}
	if connect && r.pseudos&sawProtocol == 0 {
		if r.pseudos&(sawScheme|sawPath) != 0 || len(h.Authority()) == 0 {
			return "connect" // RFC 9113 §8.5
		}
		return ""
	}
	if s := h.Part(message.Scheme); len(s) == 0 || !message.IsToken(s) {
		return "scheme"
	}
	path := h.Path()
	if len(path) == 0 || !message.IsTarget(path) || path[0] != '/' &&
		(string(path) != "*" || string(h.Method()) != "OPTIONS") {
		return "path"
	}
	return ""
}

func (r *HeadReader) response() (reason string) {
	s := r.h.Bytes(r.status)
	if len(s) != 3 {
		return "status"
	}
	n, ok := message.ParseLength(s)
	if !ok || n < 100 || n == 101 {
		return "status" // RFC 9113 §8.6: HTTP/2 has no 101
	}
	r.h.Status = int(n)
	return ""
}

// joinCookies joins the cookie fields that RFC 9113 §8.2.3 allows into one, because HTTP/1 applications expect one.
func (r *HeadReader) joinCookies() {
	arena := r.h.Arena()
	start := len(arena)
	for name, value := range r.h.All() {
		if string(name) == "cookie" {
			if len(arena) > start {
				arena = append(arena, "; "...)
			}
			arena = append(arena, value...)
		}
	}
	r.h.SetArena(arena)
	joined := message.Span{Off: uint32(start), Len: uint32(len(arena) - start)}
	r.h.Del("cookie")
	r.h.Append(r.h.StoreString("cookie"), joined)
}

// AppendBlock appends the header block of a head. It writes names in lower case. A head has no hop-by-hop fields (see
// package h1).
func AppendBlock(dst []byte, e *hpack.Encoder, h *message.Head, k Kind) []byte {
	dst = e.Begin(dst)
	switch k {
	case Request:
		dst = appendRequest(dst, e, h)
	case Response:
		var digits [3]byte
		dst = e.Append(dst, []byte(":status"), strconv.AppendUint(digits[:0], uint64(h.Status), 10), false)
	}
	var low [64]byte
	for i := range h.Len() {
		name, value := h.Field(i)
		if h.Version != message.HTTP2 {
			name = lowered(low[:0], name)
		}
		dst = e.Append(dst, name, value, false)
	}
	return dst
}

func appendRequest(dst []byte, e *hpack.Encoder, h *message.Head) []byte {
	dst = e.Append(dst, []byte(":method"), h.Method(), false)
	if p := h.Part(message.Protocol); len(p) > 0 {
		dst = e.Append(dst, []byte(":protocol"), p, true)
	}
	if s := h.Part(message.Scheme); len(s) > 0 {
		dst = e.Append(dst, []byte(":scheme"), s, false)
	}
	if a := h.Authority(); len(a) > 0 {
		dst = e.Append(dst, []byte(":authority"), a, false)
	}
	if p := h.Path(); len(p) > 0 {
		// gRPC paths are method names: a connection has few of them. Clients choose any number of other paths.
		v, ok := h.Get("content-type")
		dst = e.Append(dst, []byte(":path"), p, ok && len(v) >= 16 && string(v[:16]) == "application/grpc")
	}
	return dst
}

func lowered(buf, name []byte) []byte {
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			buf = append(buf, name[:i]...)
			for _, c := range name[i:] {
				if 'A' <= c && c <= 'Z' {
					c |= 0x20
				}
				buf = append(buf, c)
			}
			return buf
		}
	}
	return name
}
