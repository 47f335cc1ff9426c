// Package wire holds the few HTTP/2 bytes that the benchmark's own ends speak: frame heads and fixed header blocks. It
// must not import Tulle's engine, which is what is measured. The one idea: the ends know every message beforehand, so
// that encoding is a copy and decoding reads no header at all.
package wire

import "encoding/binary"

// Preface opens every HTTP/2 connection (RFC 9113 §3.4).
const Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// Frame types and flags (RFC 9113 §6).
const (
	Data         = 0x0
	Headers      = 0x1
	RSTStream    = 0x3
	Settings     = 0x4
	Ping         = 0x6
	GoAway       = 0x7
	WindowUpdate = 0x8

	EndStream  = 0x1
	Ack        = 0x1
	EndHeaders = 0x4
	Padded     = 0x8

	SettingInitialWindow = 0x4
	MaxFrame             = 16384
	DefaultWindow        = 65535
)

const headSize = 9

// Frame is one received frame; Payload points into the read buffer.
type Frame struct {
	Type, Flags byte
	Stream      uint32
	Payload     []byte
}

// Next takes the first whole frame off data; ok is false when data holds none.
func Next(data []byte) (f Frame, rest []byte, ok bool) {
	if len(data) < headSize {
		return Frame{}, data, false
	}
	size := int(data[0])<<16 | int(data[1])<<8 | int(data[2])
	if len(data) < headSize+size {
		return Frame{}, data, false
	}
	f = Frame{Type: data[3], Flags: data[4], Stream: binary.BigEndian.Uint32(data[5:]) &^ (1 << 31),
		Payload: data[headSize : headSize+size]}
	return f, data[headSize+size:], true
}

// Body is a DATA frame's payload without padding.
func (f Frame) Body() []byte {
	if f.Flags&Padded == 0 || len(f.Payload) == 0 {
		return f.Payload
	}
	pad := int(f.Payload[0])
	return f.Payload[1:max(1, len(f.Payload)-pad)]
}

// Append adds one frame to b.
func Append(b []byte, kind, flags byte, stream uint32, payload []byte) []byte {
	n := len(payload)
	b = append(b, byte(n>>16), byte(n>>8), byte(n), kind, flags)
	b = binary.BigEndian.AppendUint32(b, stream)
	return append(b, payload...)
}

// AppendWindow adds a WINDOW_UPDATE of n bytes.
func AppendWindow(b []byte, stream uint32, n int) []byte {
	return Append(b, WindowUpdate, 0, stream, binary.BigEndian.AppendUint32(nil, uint32(n)))
}

// AppendStart adds what both ends send first: generous windows, so that flow control never limits a run.
func AppendStart(b []byte) []byte {
	var setting []byte
	setting = binary.BigEndian.AppendUint16(setting, SettingInitialWindow)
	setting = binary.BigEndian.AppendUint32(setting, StreamWindow)
	return AppendWindow(Append(b, Settings, 0, 0, setting), 0, ConnWindow-DefaultWindow)
}

// The receive windows of both ends, in bytes.
const (
	StreamWindow = 1 << 20
	ConnWindow   = 16 << 20
)

// Field appends a header field as a literal without indexing (RFC 7541 §6.2.2); name and value are shorter than 127
// bytes.
func Field(b []byte, name, value string) []byte {
	b = append(b, 0, byte(len(name)))
	b = append(b, name...)
	b = append(b, byte(len(value)))
	return append(b, value...)
}

// Request is the header block of a gRPC request.
func Request(authority, path string) []byte {
	b := []byte{0x83, 0x86} // :method POST, :scheme http
	b = Field(b, ":path", path)
	b = Field(b, ":authority", authority)
	b = Field(b, "content-type", "application/grpc")
	return Field(b, "te", "trailers")
}

// Response is the header block of a gRPC response, Trailers the one of its end.
func Response() []byte { return Field([]byte{0x88}, "content-type", "application/grpc") }

// Trailers is the header block that ends a successful gRPC call.
func Trailers() []byte { return Field(nil, "grpc-status", "0") }
