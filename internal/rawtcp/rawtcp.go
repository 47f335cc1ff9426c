// Package rawtcp is a TCP client for tests that writes its own Ethernet frames, like a hostile neighbour on the same
// layer 2.
//
// It owns the smallest part of TCP that carries one request. It must not import any package of Tulle. The one idea: the
// destination of a frame is independent of that of the packet inside, so any packet can be sent to any host.
package rawtcp

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// The flags of a TCP header. Source: RFC 9293 §3.1.
const (
	fin = 1 << iota
	syn
	rst
	psh
	ack
)

// Wire sends frames from one interface to one neighbour. It needs CAP_NET_RAW.
type Wire struct {
	fd         int
	own, other net.HardwareAddr
	port       uint16 // source port of the last connection
}

// Open makes a Wire from an interface of the calling thread's network namespace to the neighbour with address other.
func Open(name string, other net.HardwareAddr) (*Wire, error) {
	link, err := net.InterfaceByName(name)
	if err != nil {
		return nil, fmt.Errorf("open wire: %w", err)
	}
	everything := int(htons(unix.ETH_P_ALL))
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, everything)
	if err != nil {
		return nil, fmt.Errorf("open wire: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: uint16(everything), Ifindex: link.Index}); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("open wire on %s: %w", name, err)
	}
	return &Wire{fd: fd, own: link.HardwareAddr, other: other, port: 20000}, nil
}

// Close closes the Wire.
func (w *Wire) Close() error { return unix.Close(w.fd) }

// Announce tells the neighbour with address to that this host has the address from, as an ARP request does (RFC 826).
// So responses to packets from that address arrive here. The kernel of this host must not have the address, or it
// resets the connections.
func (w *Wire) Announce(from, to netip.Addr) error {
	if !from.Is4() || !to.Is4() {
		return fmt.Errorf("announce %s to %s: not IPv4", from, to)
	}
	frame := append(append([]byte{}, w.other...), w.own...)
	frame = binary.BigEndian.AppendUint16(frame, unix.ETH_P_ARP)
	frame = append(frame, 0, 1, 8, 0, 6, 4, 0, 1) // Ethernet, IPv4, lengths, request
	frame = append(append(frame, w.own...), from.AsSlice()...)
	frame = append(append(frame, make([]byte, 6)...), to.AsSlice()...)
	if _, err := unix.Write(w.fd, frame); err != nil {
		return fmt.Errorf("announce %s: %w", from, err)
	}
	return nil
}

// Result is the result of a request.
type Result struct {
	Connected bool   // the handshake was completed
	Reset     bool   // the connection was refused, or reset later
	Answer    string // the bytes that arrived before the end
}

// Ask connects to an address through the neighbour, sends a request and returns the response. control is a destination
// of the same family that responds. Ask connects to control second: if the first attempt has no response by then, it
// was dropped.
func (w *Wire) Ask(from netip.Addr, to, control netip.AddrPort, request string, patience time.Duration) (Result,
	error) {
	deadline := time.Now().Add(patience)
	attempt := w.connection(from, to)
	last := w.connection(from, control)
	if err := attempt.send(syn, ""); err != nil {
		return Result{}, err
	}
	if err := last.send(syn, ""); err != nil {
		return Result{}, err
	}
	defer func() { _ = last.send(rst|ack, "") }()
	for {
		frame, err := w.receive(deadline)
		if err != nil {
			return Result{}, fmt.Errorf("ask %s: neither it nor the control answered: %w", to, err)
		}
		if s, ok := attempt.parse(frame); ok {
			if s.flags&(syn|ack) != syn|ack {
				return Result{Reset: s.flags&rst != 0}, nil
			}
			attempt.next = s.seq + 1
			return attempt.request(request, deadline)
		}
		if s, ok := last.parse(frame); ok {
			last.next = s.seq + 1
			return Result{}, nil
		}
	}
}

// connection is one connection, named by its ends.
type connection struct {
	wire     *Wire
	from, to netip.AddrPort
	seq      uint32 // of the next byte to send
	next     uint32 // the expected sequence number
}

func (w *Wire) connection(from netip.Addr, to netip.AddrPort) *connection {
	w.port++
	return &connection{wire: w, from: netip.AddrPortFrom(from, w.port), to: to, seq: 1000}
}

// request sends text on a connection. Only the last acknowledgement of the handshake is missing.
func (c *connection) request(text string, deadline time.Time) (Result, error) {
	result := Result{Connected: true}
	defer func() { _ = c.send(rst|ack, "") }()
	if err := c.send(ack, ""); err != nil {
		return result, err
	}
	if err := c.send(ack|psh, text); err != nil {
		return result, err
	}
	for {
		frame, err := c.wire.receive(deadline)
		if err != nil {
			return result, fmt.Errorf("ask %s: no end of the answer: %w", c.to, err)
		}
		s, ok := c.parse(frame)
		switch {
		case !ok:
			continue
		case s.flags&rst != 0:
			result.Reset = true
			return result, nil
		case s.seq != c.next:
			continue // the segment arrived twice
		}
		result.Answer += s.payload
		c.next += uint32(len(s.payload))
		if s.flags&fin != 0 {
			return result, nil
		}
		if s.payload != "" {
			if err := c.send(ack, ""); err != nil {
				return result, err
			}
		}
	}
}

func (c *connection) send(flags byte, payload string) error {
	_, err := unix.Write(c.wire.fd, c.frame(flags, payload))
	c.seq += uint32(len(payload))
	if flags&syn != 0 {
		c.seq++
	}
	if err != nil {
		return fmt.Errorf("send frame: %w", err)
	}
	return nil
}

// frame writes a segment with its headers. Sources: RFC 9293 §3.1, RFC 791 §3.1, RFC 8200 §3.
func (c *connection) frame(flags byte, payload string) []byte {
	segment := make([]byte, 20, 20+len(payload))
	binary.BigEndian.PutUint16(segment[0:], c.from.Port())
	binary.BigEndian.PutUint16(segment[2:], c.to.Port())
	binary.BigEndian.PutUint32(segment[4:], c.seq)
	binary.BigEndian.PutUint32(segment[8:], c.next)
	segment[12], segment[13] = 5<<4, flags
	binary.BigEndian.PutUint16(segment[14:], 65535)
	segment = append(segment, payload...)
	source, destination := c.from.Addr().AsSlice(), c.to.Addr().AsSlice()
	pseudo := append(append([]byte{}, source...), destination...)
	pseudo = append(pseudo, 0, unix.IPPROTO_TCP)
	pseudo = binary.BigEndian.AppendUint16(pseudo, uint16(len(segment)))
	binary.BigEndian.PutUint16(segment[16:], checksum(append(pseudo, segment...)))

	frame := append(append([]byte{}, c.wire.other...), c.wire.own...)
	if c.to.Addr().Is4() {
		frame = binary.BigEndian.AppendUint16(frame, unix.ETH_P_IP)
		head := make([]byte, 12, 20)
		head[0], head[8], head[9] = 4<<4|5, 64, unix.IPPROTO_TCP
		binary.BigEndian.PutUint16(head[2:], uint16(20+len(segment)))
		head = append(append(head, source...), destination...)
		binary.BigEndian.PutUint16(head[10:], checksum(head))
		return append(append(frame, head...), segment...)
	}
	frame = binary.BigEndian.AppendUint16(frame, unix.ETH_P_IPV6)
	head := make([]byte, 8, 40)
	head[0], head[6], head[7] = 6<<4, unix.IPPROTO_TCP, 64
	binary.BigEndian.PutUint16(head[4:], uint16(len(segment)))
	return append(append(append(append(frame, head...), source...), destination...), segment...)
}

// checksum returns the checksum of RFC 1071.
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	if len(b)%2 == 1 {
		sum += uint32(b[len(b)-1]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// segment is the TCP segment of a frame.
type segment struct {
	seq     uint32
	flags   byte
	payload string
}

// parse returns the segment of a frame, if it belongs to the connection.
func (c *connection) parse(frame []byte) (segment, bool) {
	if len(frame) < 14 || string(frame[:6]) != string(c.wire.own) {
		return segment{}, false
	}
	packet := frame[14:]
	var source, destination []byte
	var rest []byte
	switch kind := binary.BigEndian.Uint16(frame[12:]); {
	case kind == unix.ETH_P_IP && len(packet) >= 20 && packet[9] == unix.IPPROTO_TCP:
		head, total := int(packet[0]&15)*4, int(binary.BigEndian.Uint16(packet[2:]))
		if total > len(packet) || head > total {
			return segment{}, false
		}
		source, destination, rest = packet[12:16], packet[16:20], packet[head:total]
	case kind == unix.ETH_P_IPV6 && len(packet) >= 40 && packet[6] == unix.IPPROTO_TCP:
		total := 40 + int(binary.BigEndian.Uint16(packet[4:]))
		if total > len(packet) {
			return segment{}, false
		}
		source, destination, rest = packet[8:24], packet[24:40], packet[40:total]
	default:
		return segment{}, false
	}
	if len(rest) < 20 || string(source) != string(c.to.Addr().AsSlice()) ||
		string(destination) != string(c.from.Addr().AsSlice()) ||
		binary.BigEndian.Uint16(rest) != c.to.Port() || binary.BigEndian.Uint16(rest[2:]) != c.from.Port() {
		return segment{}, false
	}
	head := int(rest[12]>>4) * 4
	if head > len(rest) {
		return segment{}, false
	}
	return segment{seq: binary.BigEndian.Uint32(rest[4:]), flags: rest[13], payload: string(rest[head:])}, true
}

// receive returns the next frame.
func (w *Wire) receive(deadline time.Time) ([]byte, error) {
	left := max(time.Until(deadline), time.Millisecond)
	timeout := unix.NsecToTimeval(left.Nanoseconds())
	if err := unix.SetsockoptTimeval(w.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout); err != nil {
		return nil, err
	}
	frame := make([]byte, 65536)
	for {
		n, err := unix.Read(w.fd, frame)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return nil, err
		case time.Now().After(deadline):
			return nil, unix.ETIMEDOUT
		}
		return frame[:n], nil
	}
}

func htons(v uint16) uint16 { return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v)) }
