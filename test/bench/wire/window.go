package wire

import "encoding/binary"

// Windows is the sending half of flow control of one connection: what the peer lets it send.
type Windows struct {
	Conn    int // bytes that the connection may still send
	Initial int // a new stream's window
}

// NewWindows returns the windows before the peer's settings arrive.
func NewWindows() Windows { return Windows{Conn: DefaultWindow, Initial: DefaultWindow} }

// Setting applies the peer's SETTINGS payload and returns the change of every open stream's window.
func (w *Windows) Setting(payload []byte) (change int) {
	for ; len(payload) >= 6; payload = payload[6:] {
		if binary.BigEndian.Uint16(payload) == SettingInitialWindow {
			next := int(binary.BigEndian.Uint32(payload[2:]))
			change += next - w.Initial
			w.Initial = next
		}
	}
	return change
}

// Increment reads a WINDOW_UPDATE payload.
func Increment(payload []byte) int {
	if len(payload) < 4 {
		return 0
	}
	return int(binary.BigEndian.Uint32(payload) &^ (1 << 31))
}

// Credit counts received bytes and says when to give the sender new ones: at half the window.
type Credit struct{ used, window int }

// NewCredit counts against a window of so many bytes.
func NewCredit(window int) Credit { return Credit{window: window} }

// Take counts n bytes; it returns the increment to send, or 0.
func (c *Credit) Take(n int) int {
	c.used += n
	if c.used < c.window/2 {
		return 0
	}
	n, c.used = c.used, 0
	return n
}
