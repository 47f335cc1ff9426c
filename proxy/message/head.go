// Package message holds the head of an HTTP message, for every version of HTTP and every part of the proxy.
//
// It owns Head: method, scheme, authority, path, status and fields, as byte ranges of one arena. It must not import any
// package of the proxy and knows nothing about wire formats: proxy/h1 and proxy/h2 fill and read a Head. The one idea:
// a head is one growing byte slice and a list of ranges in it. So reading, editing and forwarding a message allocates
// nothing once a Head is warm.
package message

// Version is the HTTP version that a message had on the wire.
type Version uint8

// The versions that the proxy speaks. The zero Version is HTTP/1.1.
const (
	HTTP11 Version = iota
	HTTP10
	HTTP2
)

func (v Version) String() string {
	switch v {
	case HTTP10:
		return "HTTP/1.0"
	case HTTP2:
		return "HTTP/2.0"
	default:
		return "HTTP/1.1"
	}
}

// Part is a piece of a head that is not a field: the request's control data, RFC 9110 §6.2.
type Part uint8

// The parts of a request head. A response head has a Status and fields only.
const (
	Method Part = iota
	Scheme
	Authority
	Path // with the query; "*" for OPTIONS *, empty for CONNECT
	// Protocol is the protocol that a tunnel asks for: the Upgrade token of HTTP/1, or :protocol of RFC 8441.
	Protocol

	parts
)

// Span is a range of a Head's arena. The zero Span is empty.
type Span struct{ Off, Len uint32 }

type field struct{ name, value Span }

// Head is the head of a request or a response, or a trailer section. The zero Head is empty and ready to use. Byte
// slices that its methods return point into the arena: they are valid until the next Reset and must not be changed or
// kept longer. Only one goroutine may use a Head at a time.
type Head struct {
	// Status is the status of a response; 0 in a request and in trailers.
	Status  int
	Version Version
	// Absolute means that the request target was in absolute form, RFC 9112 §3.2.2.
	Absolute bool
	// HasBody means that content, or a tunnel's bytes, may follow a request's head.
	HasBody bool

	arena  []byte
	parts  [parts]Span
	fields []field
}

// Reset empties the head and retains its memory.
func (h *Head) Reset() {
	*h = Head{arena: h.arena[:0], fields: h.fields[:0]}
}

// Shrink releases memory beyond maxBytes after a large message, so that a pooled Head stays small.
func (h *Head) Shrink(maxBytes int) {
	if cap(h.arena) > maxBytes {
		*h = Head{}
	}
}

// CopyFrom makes h equal to src and uses h's own memory.
func (h *Head) CopyFrom(src *Head) {
	arena, fields := append(h.arena[:0], src.arena...), append(h.fields[:0], src.fields...)
	*h = *src
	h.arena, h.fields = arena, fields
}

// Store copies p into the arena and returns its range, for Place and Append.
func (h *Head) Store(p []byte) Span {
	off := len(h.arena)
	h.arena = append(h.arena, p...)
	return Span{uint32(off), uint32(len(p))}
}

// StoreString copies a string into the arena and returns its range.
func (h *Head) StoreString(s string) Span {
	off := len(h.arena)
	h.arena = append(h.arena, s...)
	return Span{uint32(off), uint32(len(s))}
}

// Arena returns all stored bytes. A codec appends to them and passes the result to SetArena.
func (h *Head) Arena() []byte { return h.arena }

// SetArena replaces the arena. The new arena must begin with the bytes that Arena returned.
func (h *Head) SetArena(arena []byte) { h.arena = arena }

// Bytes returns the bytes of a range.
func (h *Head) Bytes(s Span) []byte { return h.arena[s.Off : s.Off+s.Len : s.Off+s.Len] }

// Place sets a part to a stored range.
func (h *Head) Place(p Part, s Span) { h.parts[p] = s }

// Part returns a part's bytes, or an empty slice if it is absent.
func (h *Head) Part(p Part) []byte { return h.Bytes(h.parts[p]) }

// SetPart sets a part to a copy of value.
func (h *Head) SetPart(p Part, value string) { h.parts[p] = h.StoreString(value) }

// Method returns the request method.
func (h *Head) Method() []byte { return h.Part(Method) }

// IsIdempotent reports whether the method of the request is idempotent, RFC 9110 §9.2.2.
func (h *Head) IsIdempotent() bool {
	switch string(h.Method()) {
	case "GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE":
		return true
	}
	return false
}

// Authority returns the host and port of the request: HTTP/1's Host or the authority of an absolute target.
func (h *Head) Authority() []byte { return h.Part(Authority) }

// Path returns the path and query of the request target.
func (h *Head) Path() []byte { return h.Part(Path) }

// Size returns the size of the head, as RFC 9113 §6.5.2 counts a header list: names, values, and 32 bytes for each
// field.
func (h *Head) Size() int {
	n := 0
	for _, p := range h.parts {
		if p.Len > 0 {
			n += int(p.Len) + 32
		}
	}
	for _, f := range h.fields {
		n += int(f.name.Len) + int(f.value.Len) + 32
	}
	return n
}
