package h1

import (
	"strconv"

	"github.com/tulle-mesh/tulle/proxy/message"
)

// AppendRequest appends the head of a request. f says how its body is written and whether the connection closes after it; its
// Content-Length field, if it has one, is among the head's fields and goes out as it is. With Tunnel and a protocol part it asks for
// an upgrade.
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

// AppendResponse appends the head of a response to a client of the given version. The status line always says HTTP/1.1, the version
// this proxy has (RFC 9110 §6.2); Chunked must not be asked for an HTTP/1.0 client.
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

// AppendChunkSize appends the line in front of n > 0 bytes of data, AppendChunkEnd what comes behind them.
func AppendChunkSize(dst []byte, n int) []byte {
	dst = strconv.AppendUint(dst, uint64(n), 16)
	return append(dst, "\r\n"...)
}

// AppendChunkEnd appends what follows a chunk's data.
func AppendChunkEnd(dst []byte) []byte { return append(dst, "\r\n"...) }

// AppendLastChunk ends a chunked body with its trailers, which may be nil. Fields that may not stand there are left out.
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

// reason returns the registered phrase of a status, "" for an unregistered one (RFC 9110 §15; the phrase means nothing).
func reason(status int) string {
	if i := status - 100; i >= 0 && i < len(reasons) {
		return reasons[i]
	}
	return ""
}

var reasons = [500]string{
	0: "Continue", 1: "Switching Protocols", 2: "Processing", 3: "Early Hints",
	100: "OK", 101: "Created", 102: "Accepted", 103: "Non-Authoritative Information", 104: "No Content", 105: "Reset Content",
	106: "Partial Content", 107: "Multi-Status", 108: "Already Reported", 126: "IM Used",
	200: "Multiple Choices", 201: "Moved Permanently", 202: "Found", 203: "See Other", 204: "Not Modified", 205: "Use Proxy",
	207: "Temporary Redirect", 208: "Permanent Redirect",
	300: "Bad Request", 301: "Unauthorized", 302: "Payment Required", 303: "Forbidden", 304: "Not Found", 305: "Method Not Allowed",
	306: "Not Acceptable", 307: "Proxy Authentication Required", 308: "Request Timeout", 309: "Conflict", 310: "Gone",
	311: "Length Required", 312: "Precondition Failed", 313: "Content Too Large", 314: "URI Too Long", 315: "Unsupported Media Type",
	316: "Range Not Satisfiable", 317: "Expectation Failed", 318: "I'm a teapot", 321: "Misdirected Request",
	322: "Unprocessable Content", 323: "Locked", 324: "Failed Dependency", 325: "Too Early", 326: "Upgrade Required",
	328: "Precondition Required", 329: "Too Many Requests", 331: "Request Header Fields Too Large",
	351: "Unavailable For Legal Reasons",
	400: "Internal Server Error", 401: "Not Implemented", 402: "Bad Gateway", 403: "Service Unavailable", 404: "Gateway Timeout",
	405: "HTTP Version Not Supported", 406: "Variant Also Negotiates", 407: "Insufficient Storage", 408: "Loop Detected",
	410: "Not Extended", 411: "Network Authentication Required",
}
