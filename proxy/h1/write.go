package h1

import (
	"strconv"

	"github.com/tulle-mesh/tulle/proxy/message"
)

// AppendRequest appends the head of a request. f selects how the body is written and whether the connection closes
// afterwards. A Content-Length field of the head is written as it is. With Tunnel and a protocol part, the request asks
// for an upgrade.
func AppendRequest(dst []byte, h *message.Head, f Framing) []byte {
	dst = append(dst, h.Method()...)
	dst = append(dst, ' ')
	dst = appendTarget(dst, h)
	if h.Version == message.HTTP10 {
		dst = append(dst, " HTTP/1.0\r\n"...)
	} else {
		dst = append(dst, " HTTP/1.1\r\n"...)
	}
	if host := h.Authority(); len(host) > 0 || h.Version != message.HTTP10 {
		dst = append(dst, "Host: "...)
		dst = append(dst, host...)
		dst = append(dst, "\r\n"...)
	}
	te := h.Has("te")
	dst = appendFields(dst, h)
	dst = appendCoding(dst, f.Coding)
	switch {
	case f.Coding == Tunnel && len(h.Part(message.Protocol)) > 0:
		dst = append(dst, "Connection: Upgrade\r\nUpgrade: "...)
		dst = append(dst, h.Part(message.Protocol)...)
		dst = append(dst, "\r\n"...)
	case f.Close && h.Version != message.HTTP10:
		dst = append(dst, "Connection: close\r\n"...)
	case te:
		dst = append(dst, "Connection: TE\r\n"...)
	case !f.Close && h.Version == message.HTTP10:
		dst = append(dst, "Connection: keep-alive\r\n"...)
	}
	return append(dst, "\r\n"...)
}

func appendTarget(dst []byte, h *message.Head) []byte {
	if string(h.Method()) == "CONNECT" && len(h.Part(message.Protocol)) == 0 {
		return append(dst, h.Authority()...)
	}
	if h.Absolute {
		dst = append(dst, h.Part(message.Scheme)...)
		dst = append(dst, "://"...)
		dst = append(dst, h.Authority()...)
	}
	return append(dst, h.Path()...)
}

// AppendResponse appends the head of a response to a client of the given version. The status line always has HTTP/1.1,
// the version of this proxy (RFC 9110 §6.2). Chunked is not allowed for an HTTP/1.0 client.
func AppendResponse(dst []byte, h *message.Head, f Framing, client message.Version) []byte {
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendUint(dst, uint64(h.Status), 10)
	dst = append(dst, ' ')
	dst = append(dst, reason(h.Status)...)
	dst = append(dst, "\r\n"...)
	dst = appendFields(dst, h)
	dst = appendCoding(dst, f.Coding)
	switch {
	case h.Status == 101:
		dst = append(dst, "Connection: Upgrade\r\n"...)
		if p := h.Part(message.Protocol); len(p) > 0 {
			dst = append(append(append(dst, "Upgrade: "...), p...), "\r\n"...)
		}
	case h.Status < 200:
	case f.Close:
		dst = append(dst, "Connection: close\r\n"...)
	case client == message.HTTP10:
		dst = append(dst, "Connection: keep-alive\r\n"...)
	}
	return append(dst, "\r\n"...)
}

func appendCoding(dst []byte, c Coding) []byte {
	if c == Chunked {
		return append(dst, "Transfer-Encoding: chunked\r\n"...)
	}
	return dst
}

func appendFields(dst []byte, h *message.Head) []byte {
	for i := range h.Len() {
		name, value := h.Field(i)
		dst = append(dst, name...)
		dst = append(dst, ": "...)
		dst = append(dst, value...)
		dst = append(dst, "\r\n"...)
	}
	return dst
}

// AppendChunkSize appends the line before n > 0 bytes of data; AppendChunkEnd appends what follows them.
func AppendChunkSize(dst []byte, n int) []byte {
	dst = strconv.AppendUint(dst, uint64(n), 16)
	return append(dst, "\r\n"...)
}

// AppendChunkEnd appends what follows a chunk's data.
func AppendChunkEnd(dst []byte) []byte { return append(dst, "\r\n"...) }

// AppendLastChunk ends a chunked body with its trailers, which may be nil. It omits fields that are forbidden in
// trailers.
func AppendLastChunk(dst []byte, trailers *message.Head) []byte {
	dst = append(dst, "0\r\n"...)
	if trailers != nil {
		for name, value := range trailers.All() {
			if message.AllowedTrailer(name) {
				dst = append(append(append(append(dst, name...), ": "...), value...), "\r\n"...)
			}
		}
	}
	return append(dst, "\r\n"...)
}

// reason returns the registered phrase of a status, or "" for an unregistered one. The phrase has no meaning (RFC 9110
// §15).
func reason(status int) string {
	if status >= 0 && status < len(reasons) {
		return reasons[status]
	}
	return ""
}

var reasons = [600]string{
	100: "Continue", 101: "Switching Protocols", 102: "Processing", 103: "Early Hints",
	200: "OK", 201: "Created", 202: "Accepted", 203: "Non-Authoritative Information", 204: "No Content",
	205: "Reset Content",
	206: "Partial Content", 207: "Multi-Status", 208: "Already Reported", 226: "IM Used",
	300: "Multiple Choices", 301: "Moved Permanently", 302: "Found", 303: "See Other", 304: "Not Modified",
	305: "Use Proxy",
	307: "Temporary Redirect", 308: "Permanent Redirect",
	400: "Bad Request", 401: "Unauthorized", 402: "Payment Required", 403: "Forbidden", 404: "Not Found",
	405: "Method Not Allowed",
	406: "Not Acceptable", 407: "Proxy Authentication Required", 408: "Request Timeout", 409: "Conflict", 410: "Gone",
	411: "Length Required", 412: "Precondition Failed", 413: "Content Too Large", 414: "URI Too Long",
	415: "Unsupported Media Type",
	416: "Range Not Satisfiable", 417: "Expectation Failed", 418: "I'm a teapot", 421: "Misdirected Request",
	422: "Unprocessable Content", 423: "Locked", 424: "Failed Dependency", 425: "Too Early", 426: "Upgrade Required",
	428: "Precondition Required", 429: "Too Many Requests", 431: "Request Header Fields Too Large",
	451: "Unavailable For Legal Reasons",
	500: "Internal Server Error", 501: "Not Implemented", 502: "Bad Gateway", 503: "Service Unavailable",
	504: "Gateway Timeout",
	505: "HTTP Version Not Supported", 506: "Variant Also Negotiates", 507: "Insufficient Storage", 508: "Loop Detected",
	510: "Not Extended", 511: "Network Authentication Required",
}
