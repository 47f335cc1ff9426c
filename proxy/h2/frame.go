// Package h2 reads and writes HTTP/2 frames and header lists, RFC 9113.
//
// It owns the wire format, the validation of messages and the arithmetic of flow control. It imports proxy/message and
// proxy/hpack only, holds no connection and never blocks. The one idea: frames are bytes in, bytes out. This package
// decides whether a frame or a header list is well-formed; the engine (proxy/forward) decides when a stream may send
// which frame.
package h2

import (
	"encoding/binary"
	"fmt"
)

// Preface is what a client sends first, RFC 9113 §3.4.
const Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// Type is a frame's type, RFC 9113 §6.
type Type uint8

// The frame types. Others are ignored, RFC 9113 §5.5.
const (
	Data Type = iota
	Headers
	Priority
	RSTStream
	Settings
	PushPromise
	Ping
	GoAway
	WindowUpdate
	Continuation
)

// Flags of frames.
const (
	FlagEndStream  = 0x1 // Data, Headers
	FlagAck        = 0x1 // Settings, Ping
	FlagEndHeaders = 0x4
	FlagPadded     = 0x8
	FlagPriority   = 0x20
)

// Sizes, RFC 9113 §4.
const (
	HeaderLen     = 9
	MaxFrame      = 16384 // what we accept, and what every peer must accept
	InitialWindow = 65535 // of streams and connections, until SETTINGS or WINDOW_UPDATE
	MaxWindow     = 1<<31 - 1
	MaxStreamID   = 1<<31 - 1
)

// Code is an error code, RFC 9113 §7.
type Code uint32

// The error codes.
const (
	NoError Code = iota
	ProtocolError
	InternalError
	FlowControlError
	SettingsTimeout
	StreamClosed
	FrameSizeError
	RefusedStream
	Cancel
	CompressionError
	ConnectError
	EnhanceYourCalm
	InadequateSecurity
	HTTP11Required
)

// String returns the code's name as a constant word for metrics and logs: RFC 9113's, in lower case.
func (c Code) String() string {
	names := [...]string{
		"no_error", "protocol_error", "internal_error", "flow_control_error", "settings_timeout", "stream_closed",
		"frame_size_error",
		"refused_stream", "cancel", "compression_error", "connect_error", "enhance_your_calm", "inadequate_security",
		"http_1_1_required",
	}
	if int64(c) < int64(len(names)) {
		return names[c]
	}
	return "unknown_code"
}

// Error is a connection error: the proxy sends GOAWAY with the code and closes the connection.
type Error struct {
	Code Code
	// Reason is a constant word for metrics and logs.
	Reason string
}

func (e *Error) Error() string { return fmt.Sprintf("http/2: %s (code %d)", e.Reason, e.Code) }

// FrameHeader is the fixed part of a frame.
type FrameHeader struct {
	Length   uint32
	Type     Type
	Flags    uint8
	StreamID uint32
}

// ParseHeader reads a frame's header; in holds at least HeaderLen bytes.
func ParseHeader(in []byte) FrameHeader {
	return FrameHeader{
		Length:   uint32(in[0])<<16 | uint32(in[1])<<8 | uint32(in[2]),
		Type:     Type(in[3]),
		Flags:    in[4],
		StreamID: binary.BigEndian.Uint32(in[5:]) & MaxStreamID,
	}
}

// Has reports whether a flag is set.
func (f FrameHeader) Has(flag uint8) bool { return f.Flags&flag != 0 }

// Check returns an error if a frame is invalid in every state of its stream and connection. It checks the size, the
// stream ID, and values that RFC 9113 §6 forbids. Unpad checks padding; Options.Apply checks the values of SETTINGS.
func (f FrameHeader) Check(p []byte) *Error {
	switch f.Type {
	case Headers:
		if f.StreamID == 0 {
			return &Error{ProtocolError, "headers_on_connection"}
		}
	case Priority:
		switch {
		case f.StreamID == 0:
			return &Error{ProtocolError, "priority_on_connection"}
		case len(p) != 5:
			return &Error{FrameSizeError, "priority_size"}
		case binary.BigEndian.Uint32(p)&MaxStreamID == f.StreamID:
			return &Error{ProtocolError, "self_dependency"}
		}
	case RSTStream:
		switch {
		case len(p) != 4:
			return &Error{FrameSizeError, "rst_stream_size"}
		case f.StreamID == 0:
			return &Error{ProtocolError, "rst_on_idle_stream"}
		}
	case Settings:
		switch {
		case f.StreamID != 0:
			return &Error{ProtocolError, "settings_on_stream"}
		case f.Has(FlagAck) && len(p) != 0:
			return &Error{FrameSizeError, "settings_ack_size"}
		}
	case PushPromise: // we never allow push
		return &Error{ProtocolError, "push_promise"}
	case Ping:
		switch {
		case len(p) != 8:
			return &Error{FrameSizeError, "ping_size"}
		case f.StreamID != 0:
			return &Error{ProtocolError, "ping_on_stream"}
		}
	case GoAway:
		switch {
		case len(p) < 8:
			return &Error{FrameSizeError, "goaway_size"}
		case f.StreamID != 0:
			return &Error{ProtocolError, "goaway_on_stream"}
		}
	case WindowUpdate:
		switch {
		case len(p) != 4:
			return &Error{FrameSizeError, "window_update_size"}
		case binary.BigEndian.Uint32(p)&MaxWindow == 0:
			return &Error{ProtocolError, "window_update_zero"}
		}
	}
	return nil
}

// Unpad removes padding (RFC 9113 §6.1) and, in a HEADERS frame, the priority fields from a payload. The padding of
// DATA still counts against the windows.
func (f FrameHeader) Unpad(payload []byte) ([]byte, *Error) {
	pad := 0
	if f.Has(FlagPadded) {
		if len(payload) == 0 {
			return nil, &Error{FrameSizeError, "padding"}
		}
		pad, payload = int(payload[0]), payload[1:]
	}
	if f.Type == Headers && f.Has(FlagPriority) {
		if len(payload) < 5 {
			return nil, &Error{FrameSizeError, "priority"}
		}
		if binary.BigEndian.Uint32(payload)&MaxStreamID == f.StreamID {
			return nil, &Error{ProtocolError, "self_dependency"}
		}
		payload = payload[5:]
	}
	if pad > len(payload) {
		return nil, &Error{ProtocolError, "padding"}
	}
	return payload[:len(payload)-pad], nil
}

// AppendHeader appends a frame's header.
func AppendHeader(dst []byte, f FrameHeader) []byte {
	return append(dst, byte(f.Length>>16), byte(f.Length>>8), byte(f.Length), byte(f.Type), f.Flags,
		byte(f.StreamID>>24), byte(f.StreamID>>16), byte(f.StreamID>>8), byte(f.StreamID))
}

// AppendReset appends a RST_STREAM frame.
func AppendReset(dst []byte, id uint32, code Code) []byte {
	return binary.BigEndian.AppendUint32(AppendHeader(dst, FrameHeader{4, RSTStream, 0, id}), uint32(code))
}

// AppendGoAway appends a GOAWAY frame.
func AppendGoAway(dst []byte, last uint32, code Code, debug string) []byte {
	dst = AppendHeader(dst, FrameHeader{uint32(8 + len(debug)), GoAway, 0, 0})
	dst = binary.BigEndian.AppendUint32(dst, last)
	return append(binary.BigEndian.AppendUint32(dst, uint32(code)), debug...)
}

// AppendWindowUpdate appends a WINDOW_UPDATE frame.
func AppendWindowUpdate(dst []byte, id uint32, increment int) []byte {
	return binary.BigEndian.AppendUint32(AppendHeader(dst, FrameHeader{4, WindowUpdate, 0, id}), uint32(increment))
}

// AppendPing appends a PING frame with 8 bytes of data.
func AppendPing(dst []byte, flags uint8, data []byte) []byte {
	return append(AppendHeader(dst, FrameHeader{8, Ping, flags, 0}), data[:8]...)
}

// AppendHeaders appends a header block as HEADERS and as many CONTINUATION frames as it needs.
func AppendHeaders(dst []byte, id uint32, block []byte, end bool) []byte {
	f := FrameHeader{Type: Headers, StreamID: id}
	if end {
		f.Flags = FlagEndStream
	}
	for {
		n := min(len(block), MaxFrame)
		if n == len(block) {
			f.Flags |= FlagEndHeaders
		}
		f.Length = uint32(n)
		dst = append(AppendHeader(dst, f), block[:n]...)
		if block = block[n:]; len(block) == 0 {
			return dst
		}
		f.Type, f.Flags = Continuation, 0
	}
}
