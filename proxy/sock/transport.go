package sock

import (
	"encoding/binary"
	"errors"
	"net"
	"time"
)

// transport is the connection that crypto/tls uses.
type transport Conn

// wouldBlock is the error of transport.Read while there is no complete record. crypto/tls stays usable after a
// temporary error.
type wouldBlock struct{}

func (wouldBlock) Error() string   { return "sock: would block" }
func (wouldBlock) Timeout() bool   { return true }
func (wouldBlock) Temporary() bool { return true }

var errWouldBlock net.Error = wouldBlock{}

const (
	recordHeader  = 5                  // RFC 8446 §5.1: type, version, length
	maxPlaintext  = 16 << 10           // RFC 8446 §5.1
	maxCiphertext = maxPlaintext + 256 // RFC 8446 §5.2
	maxSealed     = 256 << 10
)

// errSealed ends a connection whose peer provokes responses of crypto/tls (KeyUpdate) and does not read them.
var errSealed = errors.New("sock: too much waits to be sent")

// completeRecord reports whether p begins with a complete TLS record, or with one that is too long to wait for.
func completeRecord(p []byte) bool {
	if len(p) < recordHeader {
		return false
	}
	n := int(binary.BigEndian.Uint16(p[3:]))
	return n > maxCiphertext || len(p) >= recordHeader+n
}

// Read returns at most the rest of the current record, so that crypto/tls does not buffer several records.
func (u *transport) Read(p []byte) (int, error) {
	c := (*Conn)(u)
	for c.ahead.len() == 0 || c.recLeft == 0 && c.ahead.len() < recordHeader {
		if c.pumped {
			return 0, errWouldBlock
		}
		n, err := c.nc.Read(c.ahead.space())
		c.ahead.grew(max(n, 0))
		if n <= 0 {
			c.ahead.release()
			return 0, err
		}
	}
	if c.recLeft == 0 {
		c.recLeft = recordHeader + int(binary.BigEndian.Uint16(c.ahead.bytes[3:]))
	}
	n := min(len(p), c.recLeft, c.ahead.len())
	copy(p[:n], c.ahead.bytes)
	c.ahead.skip(n)
	c.recLeft -= n
	if !c.pumped {
		c.ahead.release()
	}
	return n, nil
}

// Write writes handshake flights at once, and collects everything else.
func (u *transport) Write(p []byte) (int, error) {
	c := (*Conn)(u)
	c.sealMu.Lock()
	defer c.sealMu.Unlock()
	if !c.deferred {
		return c.nc.Write(p)
	}
	if len(c.sealed) > maxSealed {
		return 0, errSealed
	}
	if c.sealBuf == nil && len(c.sealed) == 0 {
		c.sealBuf = GetLarge()
		c.sealed = c.sealBuf[:0]
	}
	c.sealed = append(c.sealed, p...)
	return len(p), nil
}

func (u *transport) Close() error { return u.nc.Close() }

func (u *transport) LocalAddr() net.Addr  { return u.nc.LocalAddr() }
func (u *transport) RemoteAddr() net.Addr { return u.nc.RemoteAddr() }

func (u *transport) SetDeadline(t time.Time) error     { return u.nc.SetDeadline(t) }
func (u *transport) SetReadDeadline(t time.Time) error { return u.nc.SetReadDeadline(t) }

// SetWriteDeadline ignores the deadline that crypto/tls sets around close_notify, because close_notify is only
// collected at that time.
func (u *transport) SetWriteDeadline(time.Time) error { return nil }
