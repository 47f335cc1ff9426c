package h1

import (
	"bytes"

	"github.com/tulle-mesh/tulle/proxy/message"
)

// ParseRequest reads a complete head, as Scanner found it, into h, which must be empty. It moves Host from the fields
// to the authority part. If the client may upgrade, it moves the Upgrade token to the protocol part. The error is one
// of the reject list.
func ParseRequest(head []byte, h *message.Head) (Framing, error) {
	h.Store(head)
	block := h.Arena()
	end := bytes.IndexByte(block, '\n') + 1
	if err := requestLine(h, block[:end-2]); err != nil {
		return Framing{}, err
	}
	if err := parseFields(h, end, Request); err != nil {
		return Framing{}, err
	}
	var f hop
	if err := f.collect(h); err != nil {
		return Framing{}, err
	}
	if err := f.placeHost(h); err != nil {
		return Framing{}, err
	}
	if err := f.finish(h); err != nil {
		return Framing{}, err
	}
	if (f.chunked || f.length > 0) && string(h.Method()) == "CONNECT" {
		return Framing{}, ErrConnectBody
	}
	return f.request(h), nil
}

func (f *hop) request(h *message.Head) Framing {
	out := Framing{Close: f.close || h.Version == message.HTTP10 && !f.keepAlive, Expect: f.expect &&
		h.Version == message.HTTP11}
	switch {
	case f.chunked:
		out.Coding = Chunked
	case f.length > 0:
		out.Coding, out.Length = Length, f.length
	case string(h.Method()) == "CONNECT":
		out.Coding = Tunnel
	case f.upgrade && h.Version == message.HTTP11 && message.MayUpgrade(f.token):
		out.Coding = Tunnel
		h.Place(message.Protocol, h.Store(f.token))
	}
	return out
}

// requestLine reads method SP request-target SP HTTP-version, RFC 9112 §3, with exactly one space at each place.
func requestLine(h *message.Head, line []byte) error {
	if !message.IsFieldValue(line) {
		return valueError(line)
	}
	a := bytes.IndexByte(line, ' ')
	b := bytes.LastIndexByte(line, ' ')
	if a <= 0 || b == a {
		return ErrStartLine
	}
	method, target, version := line[:a], line[a+1:b], line[b+1:]
	switch string(version) {
	case "HTTP/1.1":
		h.Version = message.HTTP11
	case "HTTP/1.0":
		h.Version = message.HTTP10
	default:
		return ErrVersion
	}
	if !message.IsToken(method) || len(method) > 64 {
		return ErrMethod
	}
	if len(target) == 0 || !message.IsTarget(target) {
		return ErrTarget
	}
	h.Place(message.Method, message.Span{Off: 0, Len: uint32(a)})
	return placeTarget(h, a+1, b)
}

// placeTarget reads the four forms of RFC 9112 §3.2 from the arena's bytes from..to.
func placeTarget(h *message.Head, from, to int) error {
	target := h.Arena()[from:to]
	span := func(a, b int) message.Span { return message.Span{Off: uint32(from + a), Len: uint32(b - a)} }
	connect := string(h.Method()) == "CONNECT"
	switch {
	case connect:
		if !message.IsHost(target) || bytes.LastIndexByte(target, ':') < 0 {
			return ErrTarget
		}
		h.Place(message.Authority, span(0, len(target)))
		return nil
	case target[0] == '/':
		h.Place(message.Path, span(0, len(target)))
	case len(target) == 1 && target[0] == '*' && string(h.Method()) == "OPTIONS":
		h.Place(message.Path, span(0, 1))
	default:
		return placeAbsolute(h, target, span)
	}
	h.SetPart(message.Scheme, "http")
	return nil
}

func placeAbsolute(h *message.Head, target []byte, span func(a, b int) message.Span) error {
	i := bytes.Index(target, []byte("://"))
	if i < 0 || !message.EqualFold(target[:i], "http") && !message.EqualFold(target[:i], "https") {
		return ErrTarget
	}
	host := i + 3
	path := host
	for path < len(target) && target[path] != '/' && target[path] != '?' {
		path++
	}
	if path == host || !message.IsHost(target[host:path]) {
		return ErrTarget
	}
	h.Absolute = true
	h.Place(message.Scheme, span(0, i))
	h.Place(message.Authority, span(host, path))
	switch {
	case path == len(target):
		h.SetPart(message.Path, "/")
	case target[path] == '?':
		h.Place(message.Path, h.Store(append([]byte("/"), target[path:]...)))
	default:
		h.Place(message.Path, span(path, len(target)))
	}
	return nil
}

// placeHost applies RFC 9112 §3.2: exactly one Host in HTTP/1.1, at most one in HTTP/1.0. If the target has an
// authority (absolute form or CONNECT), a valid Host is ignored (§3.2.2): clients of a forward proxy send a Host
// without the port, or another host. The writer replaces Host, so that every server behind this proxy uses the same
// name as the proxy.
func (f *hop) placeHost(h *message.Head) error {
	if f.hosts > 1 {
		return ErrDuplicateHost
	}
	if f.hosts == 0 {
		if h.Version == message.HTTP11 {
			return ErrNoHost
		}
		return nil
	}
	if !message.IsHost(f.host) {
		return ErrHost
	}
	if len(h.Authority()) > 0 {
		return nil
	}
	h.Place(message.Authority, h.Store(f.host))
	return nil
}
