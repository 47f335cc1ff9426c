package h2

import "encoding/binary"

// Identifiers of settings, RFC 9113 §6.5.2 and RFC 8441 §3.
const (
	settingHeaderTableSize   = 1
	settingEnablePush        = 2
	settingMaxStreams        = 3
	settingInitialWindow     = 4
	settingMaxFrame          = 5
	settingMaxHeaderList     = 6
	settingConnectProtocol   = 8
	maxSettings              = 100 // in one frame; more are a flood
	settingLen               = 6
	minMaxFrame, maxMaxFrame = 16384, 1<<24 - 1
)

// Options are the values of a SETTINGS frame.
type Options struct {
	HeaderTableSize uint32
	MaxStreams      uint32
	InitialWindow   uint32
	MaxHeaderList   uint32
	ConnectProtocol bool
}

// PeerDefaults returns the options that apply until a peer sends SETTINGS.
func PeerDefaults() Options {
	return Options{HeaderTableSize: 4096, MaxStreams: MaxStreamID, InitialWindow: InitialWindow, MaxHeaderList: 1<<32 - 1}
}

// Apply reads the payload of a SETTINGS frame into o. server means that a server sent it: a server must not enable
// push.
func (o *Options) Apply(payload []byte, server bool) *Error {
	if len(payload)%settingLen != 0 {
		return &Error{FrameSizeError, "settings_size"}
	}
	if len(payload) > maxSettings*settingLen {
		return &Error{EnhanceYourCalm, "settings_flood"}
	}
	for ; len(payload) > 0; payload = payload[settingLen:] {
		id, v := binary.BigEndian.Uint16(payload), binary.BigEndian.Uint32(payload[2:])
		switch id {
		case settingHeaderTableSize:
			o.HeaderTableSize = v
		case settingEnablePush:
			if v > 1 || server && v == 1 {
				return &Error{ProtocolError, "settings_push"}
			}
		case settingMaxStreams:
			o.MaxStreams = v
		case settingInitialWindow:
			if v > MaxWindow {
				return &Error{FlowControlError, "settings_window"}
			}
			o.InitialWindow = v
		case settingMaxFrame:
			if v < minMaxFrame || v > maxMaxFrame {
				return &Error{ProtocolError, "settings_max_frame"}
			}
		case settingMaxHeaderList:
			o.MaxHeaderList = v
		case settingConnectProtocol:
			if v > 1 {
				return &Error{ProtocolError, "settings_connect_protocol"}
			}
			o.ConnectProtocol = v == 1
		}
	}
	return nil
}

// AppendSettings appends a SETTINGS frame with what we accept. A client disables push. The proxy never offers frames
// larger than MaxFrame or tables larger than the initial one.
func AppendSettings(dst []byte, o Options, client bool) []byte {
	at := len(dst)
	dst = AppendHeader(dst, FrameHeader{Type: Settings})
	add := func(id uint16, v uint32) {
		dst = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(dst, id), v)
	}
	if client {
		add(settingEnablePush, 0)
	} else {
		add(settingMaxStreams, o.MaxStreams)
	}
	add(settingInitialWindow, o.InitialWindow)
	add(settingMaxHeaderList, o.MaxHeaderList)
	if o.ConnectProtocol {
		add(settingConnectProtocol, 1)
	}
	dst[at+2] = byte(len(dst) - at - HeaderLen)
	return dst
}

// AppendSettingsAck appends the acknowledgement of a SETTINGS frame.
func AppendSettingsAck(dst []byte) []byte {
	return AppendHeader(dst, FrameHeader{Type: Settings, Flags: FlagAck})
}

// ReceiveWindow is what a peer may send, on a stream or on a connection (RFC 9113 §5.2). It is granted again by halves.
type ReceiveWindow struct {
	size     int // how much the peer may have under way
	left     int // how much it may still send
	consumed int // what is not granted again yet
}

// NewReceiveWindow returns a window of that size. The peer may use all of it at once.
func NewReceiveWindow(size int) ReceiveWindow { return ReceiveWindow{size: size, left: size} }

// Size returns how much the peer may have under way.
func (w *ReceiveWindow) Size() int { return w.size }

// Receive notes n bytes that came, and reports whether the window held them.
func (w *ReceiveWindow) Receive(n int) bool {
	w.left -= n
	return w.left >= 0
}

// Consume notes that n bytes went on, and reports whether half of the window waits to be granted again.
func (w *ReceiveWindow) Consume(n int) (due bool) {
	w.consumed += n
	return w.consumed >= w.size/2
}

// Double makes the window twice as large with the next Grant, if it is smaller than most.
func (w *ReceiveWindow) Double(most int) {
	if w.size < most {
		w.consumed += w.size
		w.size *= 2
	}
}

// Grant returns the increment of a WINDOW_UPDATE that grants all that was consumed. The caller must send it.
func (w *ReceiveWindow) Grant() (increment int) {
	increment = w.consumed
	w.left += increment
	w.consumed = 0
	return increment
}

// Window is a flow-control window, RFC 9113 §5.2. It may be negative after the initial size shrank.
type Window int32

// Grow adds n and reports whether the window stays within 2^31-1 (RFC 9113 §6.9.1).
func (w *Window) Grow(n int64) bool {
	sum := int64(*w) + n
	if sum > MaxWindow || sum < -MaxWindow {
		return false
	}
	*w = Window(sum)
	return true
}

// Take consumes n bytes and reports whether the window held them.
func (w *Window) Take(n int) bool {
	if int64(n) > int64(*w) {
		return false
	}
	*w -= Window(n)
	return true
}
