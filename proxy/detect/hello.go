package detect

import (
	"encoding/binary"
	"errors"
	"slices"
)

// Hello is what a peer asks for in its ClientHello.
type Hello struct {
	ServerName string
	ALPN       []string
}

// Offers reports whether the peer offers any of the protocols.
func (h Hello) Offers(protocols ...string) bool {
	return slices.ContainsFunc(h.ALPN, func(p string) bool { return slices.Contains(protocols, p) })
}

// Errors of ParseClientHello: ErrShort means that the ClientHello needs more bytes, ErrMalformed that the bytes are not
// a ClientHello.
var (
	ErrShort     = errors.New("client hello incomplete")
	ErrMalformed = errors.New("not a client hello")
)

// MaxHello bounds the bytes of a ClientHello, record headers included. A ClientHello with hybrid key shares takes about
// 2 KiB.
const MaxHello = 16 << 10

// Numbers of the TLS wire format. Source: RFC 8446 §4, §5.1; RFC 6066 §3; RFC 7301 §3.1.
const (
	recordHandshake      = 22
	recordMajor          = 3
	recordHeader         = 5
	maxRecord            = 1 << 14
	handshakeHeader      = 4
	typeClientHello      = 1
	extensionServerName  = 0
	extensionALPN        = 16
	serverNameTypeDNS    = 0
	fixedHello           = 2 + 32 // legacy_version, random
	maxHandshakeMsgBytes = MaxHello
)

// ParseClientHello reads a ClientHello from the first bytes of a connection. The message may be spread over any number
// of records. The error is ErrShort if more bytes are needed, and ErrMalformed if no further bytes can help.
func ParseClientHello(prefix []byte) (Hello, error) {
	message, err := handshakeMessage(prefix)
	if err != nil {
		return Hello{}, err
	}
	return parseHello(message)
}

// handshakeMessage returns the body of the first handshake message, joined from its records. It copies only if there
// are several records.
func handshakeMessage(prefix []byte) ([]byte, error) {
	var joined []byte
	for {
		if len(prefix) < recordHeader {
			return nil, shortOf(prefix)
		}
		length := int(binary.BigEndian.Uint16(prefix[3:]))
		if prefix[0] != recordHandshake || prefix[1] != recordMajor || length == 0 || length > maxRecord {
			return nil, ErrMalformed
		}
		payload := prefix[recordHeader:]
		complete := len(payload) >= length
		payload = payload[:min(length, len(payload))]
		if joined == nil {
			joined = payload[:len(payload):len(payload)]
		} else {
			joined = append(joined, payload...)
		}
		body, err := messageBody(joined)
		if !errors.Is(err, ErrShort) || !complete {
			return body, err
		}
		prefix = prefix[recordHeader+length:]
	}
}

func shortOf(header []byte) error {
	if len(header) > 0 && header[0] != recordHandshake || len(header) > 1 && header[1] != recordMajor {
		return ErrMalformed
	}
	return ErrShort
}

func messageBody(joined []byte) ([]byte, error) {
	if len(joined) > 0 && joined[0] != typeClientHello {
		return nil, ErrMalformed
	}
	if len(joined) < handshakeHeader {
		return nil, ErrShort
	}
	length := int(joined[1])<<16 | int(joined[2])<<8 | int(joined[3])
	if length > maxHandshakeMsgBytes {
		return nil, ErrMalformed
	}
	if len(joined) < handshakeHeader+length {
		return nil, ErrShort
	}
	return joined[handshakeHeader : handshakeHeader+length], nil
}

func parseHello(message []byte) (Hello, error) {
	m := reader(message)
	m.skip(fixedHello)
	m.vector8()  // legacy_session_id
	m.vector16() // cipher_suites
	m.vector8()  // legacy_compression_methods
	if m == nil {
		return Hello{}, ErrMalformed
	}
	if len(m) == 0 { // a TLS 1.2 hello may end here
		return Hello{}, nil
	}
	extensions := m.vector16()
	if m == nil || len(m) != 0 {
		return Hello{}, ErrMalformed
	}
	var hello Hello
	for len(extensions) > 0 {
		kind := extensions.uint16()
		body := extensions.vector16()
		if extensions == nil {
			return Hello{}, ErrMalformed
		}
		ok := true
		switch kind {
		case extensionALPN:
			hello.ALPN, ok = parseALPN(body)
		case extensionServerName:
			hello.ServerName, ok = parseServerName(body)
		}
		if !ok {
			return Hello{}, ErrMalformed
		}
	}
	return hello, nil
}

func parseALPN(body reader) (protocols []string, ok bool) {
	list := body.vector16()
	if body == nil || len(body) != 0 {
		return nil, false
	}
	for len(list) > 0 {
		name := list.vector8()
		if list == nil || len(name) == 0 {
			return nil, false
		}
		protocols = append(protocols, string(name))
	}
	return protocols, true
}

func parseServerName(body reader) (name string, ok bool) {
	list := body.vector16()
	if body == nil || len(body) != 0 {
		return "", false
	}
	for len(list) > 0 {
		kind := list.uint8()
		value := list.vector16()
		if list == nil {
			return "", false
		}
		if kind == serverNameTypeDNS {
			name = string(value)
		}
	}
	return name, true
}

// reader takes values off the front of a message. It becomes nil, and stays nil, when a value is longer than the rest.
// An empty but complete value is never nil.
type reader []byte

func (r *reader) skip(n int) reader {
	if *r == nil || len(*r) < n {
		*r = nil
		return nil
	}
	taken := (*r)[:n]
	*r = (*r)[n:]
	return taken
}

func (r *reader) uint8() int {
	b := r.skip(1)
	if b == nil {
		return 0
	}
	return int(b[0])
}

func (r *reader) uint16() int {
	b := r.skip(2)
	if b == nil {
		return 0
	}
	return int(binary.BigEndian.Uint16(b))
}

func (r *reader) vector8() reader  { return r.skip(r.uint8()) }
func (r *reader) vector16() reader { return r.skip(r.uint16()) }
