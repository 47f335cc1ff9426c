package h1

import (
	"strconv"

	"github.com/tulle-mesh/tulle/proxy/message"
)

// Coding is how a message's body is delimited, RFC 9112 §6.
type Coding uint8

// The codings.
const (
	NoBody     Coding = iota // the message ends with its head
	Length                   // Content-Length bytes
	Chunked                  // the chunked coding, with trailers
	UntilClose               // a response that ends with its connection
	Tunnel                   // no longer HTTP: after 101, or 2xx to CONNECT
)

// Framing is how a head delimits its message. Parsing removes it from the head's fields (except Content-Length), and
// writing puts it back, because connection options are for one connection only (RFC 9110 §7.6.1).
type Framing struct {
	Coding Coding
	// Length is the body's length if Coding is Length.
	Length int64
	// Close means that the connection ends after the message.
	Close bool
	// Expect means that a request waits for 100 Continue.
	Expect bool
	// Bound means that a response names NTLM or Negotiate, which authenticate the connection.
	Bound bool
}

// FrameRequest chooses how the body of a request to a server is delimited. length is -1 if it is unknown; empty means
// that there is no body. An HTTP/1.0 request stays HTTP/1.0, unless its length is unknown.
func FrameRequest(h *message.Head, length int64, empty, tunnel bool) Framing {
	switch {
	case tunnel:
		return Framing{Coding: Tunnel}
	case empty:
		if h.Version == message.HTTP2 && length < 0 && expectsBody(h.Method()) {
			h.Set("content-length", "0") // RFC 9110 §8.6
		}
		return Framing{}
	case length >= 0:
		return Framing{Coding: Length, Length: length}
	}
	if h.Version == message.HTTP10 {
		h.Version = message.HTTP11
	}
	return Framing{Coding: Chunked}
}

func expectsBody(method []byte) bool {
	switch string(method) {
	case "POST", "PUT", "PATCH":
		return true
	}
	return false
}

// FrameResponse chooses how the body of a response to request is delimited, RFC 9112 §6.3. empty means that there is no
// body.
func FrameResponse(h, request *message.Head, empty, tunnel bool) (f Framing) {
	length := h.Has("content-length")
	switch {
	case tunnel:
		f.Coding = Tunnel
	case string(request.Method()) == "HEAD" || h.Status == 204 || h.Status == 304:
	case empty:
		if !length {
			h.Set("content-length", "0")
		}
	case length:
		f.Coding = Length
	case request.Version == message.HTTP10:
		f.Coding, f.Close = UntilClose, true
	default:
		f.Coding = Chunked
	}
	return f
}

// BindsConnection reports whether a request carries credentials that authenticate its connection.
func BindsConnection(h *message.Head) bool {
	for i := range h.Len() {
		name, value := h.Field(i)
		authorizes := len(name) == 13 && message.EqualFold(name, "authorization") ||
			len(name) == 19 && message.EqualFold(name, "proxy-authorization")
		if authorizes && message.BindsConnection(value) {
			return true
		}
	}
	return false
}

// hop collects the hop-by-hop fields of a head.
type hop struct {
	kind                      Kind
	length                    int64 // -1 without Content-Length
	zeros                     bool  // Content-Length has leading zeros
	close, keepAlive, upgrade bool
	bound                     bool // a challenge of NTLM or Negotiate
	chunked, trailers, expect bool
	host                      []byte
	hosts                     int
	token                     []byte    // of Upgrade
	connection                [4][]byte // values of Connection
	connections               int
	options                   int // in all Connection fields
}

// maxOptions bounds the options of a message's Connection fields: each option costs a walk over all fields.
const maxOptions = 32

// collect reads the fields that frame a message, and removes those that apply to this connection only.
func (f *hop) collect(h *message.Head) error {
	f.length = -1
	var err error
	h.DelFunc(func(name, value []byte) bool {
		drop, ferr := f.field(name, value)
		if err == nil {
			err = ferr
		}
		return drop
	})
	return err
}

func (f *hop) field(name, value []byte) (drop bool, err error) {
	switch len(name) {
	case 2:
		if message.EqualFold(name, "te") {
			f.trailers = f.trailers || message.HasToken(value, "trailers")
			return true, nil
		}
	case 4:
		if message.EqualFold(name, "host") {
			f.host = value
			f.hosts++
			return true, nil
		}
	case 6:
		if message.EqualFold(name, "expect") {
			return false, f.expectation(value)
		}
	case 7:
		if message.EqualFold(name, "upgrade") {
			f.token = value
			return true, nil
		}
	case 10:
		if message.EqualFold(name, "connection") {
			return true, f.connectionOptions(value)
		}
		return message.EqualFold(name, "keep-alive"), nil
	case 14:
		if message.EqualFold(name, "content-length") {
			return f.contentLength(value)
		}
	case 18:
		f.bound = f.bound || message.EqualFold(name, "proxy-authenticate") && message.BindsConnection(value)
	case 16:
		f.bound = f.bound || message.EqualFold(name, "www-authenticate") && message.BindsConnection(value)
		return message.EqualFold(name, "proxy-connection"), nil
	case 17:
		if message.EqualFold(name, "transfer-encoding") {
			return true, f.transferEncoding(value)
		}
	}
	return false, nil
}

func (f *hop) expectation(value []byte) error {
	if !message.EqualFold(value, "100-continue") {
		return ErrExpectation
	}
	f.expect = true
	return nil
}

func (f *hop) connectionOptions(value []byte) error {
	if f.connections == len(f.connection) {
		return ErrFieldValue
	}
	f.connection[f.connections] = value
	f.connections++
	for len(value) > 0 {
		if f.options++; f.options > maxOptions {
			return ErrFieldValue
		}
		var option []byte
		option, value = message.NextToken(value)
		switch {
		case message.EqualFold(option, "close"):
			f.close = true
		case message.EqualFold(option, "keep-alive"):
			f.keepAlive = true
		case message.EqualFold(option, "upgrade"):
			f.upgrade = true
		}
	}
	return nil
}

// contentLength stores the first of several equal fields, and drops the others.
func (f *hop) contentLength(value []byte) (drop bool, err error) {
	n, ok := message.ParseLength(value)
	if !ok || f.length >= 0 && f.length != n {
		return false, ErrContentLength
	}
	if drop = f.length >= 0; !drop {
		f.zeros = len(value) > 1 && value[0] == '0'
	}
	f.length = n
	return drop, nil
}

// transferEncoding accepts the chunked coding only, in one field, because all peers read that alike. A response may
// repeat the field: some applications name the coding that their server names too. Clients read such a response as
// chunked once.
func (f *hop) transferEncoding(value []byte) error {
	if f.chunked && f.kind == Request || !message.EqualFold(value, "chunked") {
		return ErrTransferCoding
	}
	f.chunked = true
	return nil
}

// finish applies the rules that need more than one field.
func (f *hop) finish(h *message.Head) error {
	if f.chunked {
		if h.Version == message.HTTP10 {
			return ErrTEInHTTP10
		}
		if f.length >= 0 {
			return ErrTEAndCL
		}
	}
	if f.zeros {
		h.Set("content-length", strconv.FormatInt(f.length, 10)) // some parsers read a leading zero as octal
	}
	for _, value := range f.connection[:f.connections] {
		dropNominated(h, value)
	}
	if f.trailers {
		h.Set("te", "trailers")
	}
	return nil
}

// dropNominated removes the fields that Connection names, except the fields that frame, route or authorize the message:
// a client must not be able to remove those.
func dropNominated(h *message.Head, value []byte) {
	for len(value) > 0 {
		var option []byte
		option, value = message.NextToken(value)
		if len(option) > 0 && !protected(option) {
			h.DelFunc(func(name, _ []byte) bool { return message.EqualFoldBytes(name, option) })
		}
	}
}

// protected reports whether Connection cannot remove a field: framing, routing, and the fields of upgrades.
func protected(option []byte) bool {
	return message.EqualFold(option, "close") || message.EqualFold(option, "keep-alive") ||
		message.EqualFold(option, "upgrade") ||
		message.EqualFold(option, "te") || message.EqualFold(option, "host") || message.EqualFold(option, "content-length") ||
		message.EqualFold(option, "authorization") || message.EqualFold(option, "cookie")
}
