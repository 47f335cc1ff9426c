package message

import (
	"bytes"
	"iter"
)

// Len returns the number of field lines.
func (h *Head) Len() int { return len(h.fields) }

// Field returns the name and the value of field line i. The name has the case in which it arrived.
func (h *Head) Field(i int) (name, value []byte) {
	f := &h.fields[i]
	return h.Bytes(f.name), h.Bytes(f.value)
}

// All ranges over the field lines in order. The head must not be edited during the loop.
func (h *Head) All() iter.Seq2[[]byte, []byte] {
	return func(yield func(name, value []byte) bool) {
		for i := range h.fields {
			if !yield(h.Field(i)) {
				return
			}
		}
	}
}

// Append adds a field line from stored ranges.
func (h *Head) Append(name, value Span) { h.fields = append(h.fields, field{name, value}) }

// Add adds a field line.
func (h *Head) Add(name, value string) { h.Append(h.StoreString(name), h.StoreString(value)) }

// AddBytes adds a field line. The bytes may be a part of this head.
func (h *Head) AddBytes(name, value []byte) { h.Append(h.Store(name), h.Store(value)) }

// Get returns the value of the first field line with that name. The name must be lower-case; the case of the head's own
// names does not matter (RFC 9110 §5.1).
func (h *Head) Get(name string) (value []byte, ok bool) {
	for i := range h.fields {
		if f := &h.fields[i]; h.named(f, name) {
			return h.Bytes(f.value), true
		}
	}
	return nil, false
}

// Has reports whether the head has a field of that lower-case name.
func (h *Head) Has(name string) bool {
	_, ok := h.Get(name)
	return ok
}

// Set replaces all field lines of that lower-case name by one with value.
func (h *Head) Set(name, value string) { h.place(name, h.StoreString(value)) }

// SetBytes is Set for bytes, which it copies.
func (h *Head) SetBytes(name string, value []byte) { h.place(name, h.Store(value)) }

// place replaces all field lines of that lower-case name by one with the stored value.
func (h *Head) place(name string, v Span) {
	for i := range h.fields {
		if h.named(&h.fields[i], name) {
			h.fields[i].value = v
			h.delFrom(i+1, name)
			return
		}
	}
	h.Append(h.StoreString(name), v)
}

// Del removes every field line of that lower-case name.
func (h *Head) Del(name string) { h.delFrom(0, name) }

// DelFunc removes every field line for which drop returns true.
func (h *Head) DelFunc(drop func(name, value []byte) bool) {
	rest := h.fields[:0]
	for _, f := range h.fields {
		if !drop(h.Bytes(f.name), h.Bytes(f.value)) {
			rest = append(rest, f)
		}
	}
	h.fields = rest
}

func (h *Head) delFrom(i int, name string) {
	rest := h.fields[:i]
	for ; i < len(h.fields); i++ {
		if f := h.fields[i]; !h.named(&f, name) {
			rest = append(rest, f)
		}
	}
	h.fields = rest
}

func (h *Head) named(f *field, name string) bool {
	return int(f.name.Len) == len(name) && EqualFold(h.Bytes(f.name), name)
}

// EqualFold reports whether b equals the lower-case ASCII string s, if the case of b's letters is ignored.
func EqualFold(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != s[i] {
			return false
		}
	}
	return true
}

// HasToken reports whether a comma-separated list value (RFC 9110 §5.6.1) has the lower-case token.
func HasToken(value []byte, token string) bool {
	for len(value) > 0 {
		var item []byte
		item, value = NextToken(value)
		if EqualFold(item, token) {
			return true
		}
	}
	return false
}

// NextToken cuts the first element off a comma-separated list value, without the space around it. An empty element is
// returned as an empty item.
func NextToken(list []byte) (item, rest []byte) {
	end := len(list)
	for i, c := range list {
		if c == ',' {
			end, rest = i, list[i+1:]
			break
		}
	}
	item = list[:end]
	for len(item) > 0 && (item[0] == ' ' || item[0] == '\t') {
		item = item[1:]
	}
	for len(item) > 0 && (item[len(item)-1] == ' ' || item[len(item)-1] == '\t') {
		item = item[:len(item)-1]
	}
	return item, rest
}

// BindsConnection reports whether the value of a credentials or challenge field names NTLM or Negotiate. These schemes
// authenticate a connection and not a request (RFC 4559 §6).
func BindsConnection(value []byte) bool {
	for len(value) > 0 {
		var item []byte
		item, value = NextToken(value)
		scheme, _, _ := bytes.Cut(item, []byte{' '})
		if EqualFold(scheme, "ntlm") || EqualFold(scheme, "negotiate") {
			return true
		}
	}
	return false
}

// MayUpgrade reports whether the protocols in the value of an Upgrade field are allowed (RFC 9110 §7.8). HTTP and TLS
// are not allowed: the proxy would authorize only the first request of such a tunnel.
func MayUpgrade(list []byte) bool {
	for rest := list; len(rest) > 0; {
		var protocol []byte
		protocol, rest = NextToken(rest)
		name, version, _ := bytes.Cut(protocol, []byte{'/'})
		if len(name) == 0 || !IsToken(name) || !IsToken(version) {
			return false
		}
		if EqualFold(name, "h2c") || EqualFold(name, "http") || EqualFold(name, "tls") {
			return false
		}
	}
	return len(list) > 0
}

// AllowedTrailer reports whether a trailer section may have the field. Fields that frame, route or authorize a message
// are forbidden, because some servers merge trailers into the head (RFC 9110 §6.5.1). The mesh's own fields are
// forbidden too, because they name the client.
func AllowedTrailer(name []byte) bool {
	if len(name) > 3 && EqualFold(name[:3], "l5d") {
		return false
	}
	switch len(name) {
	case 2:
		return !EqualFold(name, "te")
	case 4:
		return !EqualFold(name, "host")
	case 7:
		return !EqualFold(name, "trailer") && !EqualFold(name, "upgrade")
	case 10:
		return !EqualFold(name, "connection") && !EqualFold(name, "keep-alive")
	case 13:
		return !EqualFold(name, "authorization")
	case 14:
		return !EqualFold(name, "content-length")
	case 17:
		return !EqualFold(name, "transfer-encoding")
	}
	return true
}
