// Package poll is a single-threaded epoll loop for the cheap ends of the benchmark: the origin server, the null relay
// and the load generator. It must not import anything of Tulle: what it carries is compared with Tulle. The one idea:
// one thread, level-triggered readiness, one read a wake-up, so that the ends cost a few microseconds a request and
// never hide the cost of what stands between.
package poll

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Handler is called when its descriptor is ready. An error ends the connection: the loop closes the descriptor and
// calls Closed.
type Handler interface {
	Readable() error
	Writable() error
	Closed()
}

// Loop waits for readiness and calls handlers, all on the goroutine that calls Wait. The zero Loop is not usable; see
// New.
type Loop struct {
	fd       int
	handlers []Handler // by descriptor
	events   [256]unix.EpollEvent
}

// New returns an empty loop.
func New() (*Loop, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create epoll: %w", err)
	}
	return &Loop{fd: fd}, nil
}

// Add watches fd for input on behalf of h.
func (l *Loop) Add(fd int, h Handler) error {
	for fd >= len(l.handlers) {
		l.handlers = append(l.handlers, make([]Handler, len(l.handlers)+64)...)
	}
	l.handlers[fd] = h
	return l.control(unix.EPOLL_CTL_ADD, fd, unix.EPOLLIN)
}

// Interest says what fd is watched for from now on.
func (l *Loop) Interest(fd int, read, write bool) error {
	var events uint32
	if read {
		events |= unix.EPOLLIN
	}
	if write {
		events |= unix.EPOLLOUT
	}
	return l.control(unix.EPOLL_CTL_MOD, fd, events)
}

func (l *Loop) control(op, fd int, events uint32) error {
	if err := unix.EpollCtl(l.fd, op, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)}); err != nil {
		return fmt.Errorf("watch descriptor %d: %w", fd, err)
	}
	return nil
}

// Close ends the connection of fd and tells its handler. Closing a descriptor that the loop does not hold does nothing.
func (l *Loop) Close(fd int) {
	if fd < 0 || fd >= len(l.handlers) || l.handlers[fd] == nil {
		return
	}
	h := l.handlers[fd]
	l.handlers[fd] = nil
	_ = unix.Close(fd) // nothing can be done about it, and the descriptor is gone in any case
	h.Closed()
}

// Wait handles one batch of events, waiting at most the timeout for the first one (negative: for ever). The timeout is
// exact to the microsecond: epoll_pwait2 takes nanoseconds.
func (l *Loop) Wait(timeout time.Duration) error {
	var ts *unix.Timespec
	if timeout >= 0 {
		t := unix.NsecToTimespec(timeout.Nanoseconds())
		ts = &t
	}
	n, err := epollPwait2(l.fd, l.events[:], ts)
	if err != nil {
		if errors.Is(err, unix.EINTR) {
			return nil
		}
		return fmt.Errorf("wait for events: %w", err)
	}
	for _, ev := range l.events[:n] {
		l.dispatch(int(ev.Fd), ev.Events)
	}
	return nil
}

func (l *Loop) dispatch(fd int, events uint32) {
	h := l.handlers[fd]
	if h == nil { // closed by an earlier event of the same batch
		return
	}
	if events&(unix.EPOLLIN|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		if err := h.Readable(); err != nil {
			l.Close(fd)
			return
		}
	}
	if events&unix.EPOLLOUT != 0 && l.handlers[fd] == h {
		if err := h.Writable(); err != nil {
			l.Close(fd)
		}
	}
}

// epollPwait2 does not tell Go's scheduler that it waits: these programs have nothing else to run, and the hand-over of
// the processor on every wait would cost more than the wait. The scheduler's preemption signal ends a wait that it
// needs to end.
func epollPwait2(fd int, events []unix.EpollEvent, ts *unix.Timespec) (int, error) {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT2, uintptr(fd), uintptr(unsafe.Pointer(&events[0])),
		uintptr(len(events)),
		uintptr(unsafe.Pointer(ts)), 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// ErrClosed says that the peer ended the connection.
var ErrClosed = errors.New("closed by the peer")

// Read reads what is there: 0 bytes and no error when nothing is, ErrClosed at the end of the stream.
func Read(fd int, p []byte) (int, error) {
	n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
	switch {
	case errno == unix.EAGAIN || errno == unix.EINTR:
		return 0, nil
	case errno != 0:
		return 0, errno
	case n == 0:
		return 0, ErrClosed
	}
	return int(n), nil
}

// Write writes what fits: fewer bytes than p and no error when the socket is full.
func Write(fd int, p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)),
		unix.MSG_NOSIGNAL, 0, 0)
	switch {
	case errno == unix.EAGAIN || errno == unix.EINTR:
		return 0, nil
	case errno != 0:
		return 0, errno
	}
	return int(n), nil
}

// Dial starts a connection to addr, from source unless that is invalid; it is usable when it becomes writable.
func Dial(addr netip.AddrPort, source netip.Addr) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("create socket: %w", err)
	}
	if err := connect(fd, addr, source); err != nil {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("dial %s: %w", addr, err)
	}
	return fd, nil
}

func connect(fd int, addr netip.AddrPort, source netip.Addr) error {
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return err
	}
	if source.IsValid() {
		// The port is chosen at connect, by the whole four-tuple: churn would run out of ports otherwise.
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err != nil {
			return err
		}
		if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: source.As4()}); err != nil {
			return err
		}
	}
	err := unix.Connect(fd, &unix.SockaddrInet4{Addr: addr.Addr().As4(), Port: int(addr.Port())})
	if errors.Is(err, unix.EINPROGRESS) {
		return nil
	}
	return err
}

// Listen accepts connections on addr and gives each descriptor to accept, which adds it to the loop or closes it.
func (l *Loop) Listen(addr netip.AddrPort, accept func(fd int)) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("create socket: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return fmt.Errorf("listen on %s: %w", addr, err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: addr.Addr().As4(), Port: int(addr.Port())}); err != nil {
		return fmt.Errorf("listen on %s: %w", addr, err)
	}
	if err := unix.Listen(fd, 4096); err != nil {
		return fmt.Errorf("listen on %s: %w", addr, err)
	}
	return l.Add(fd, &listener{fd: fd, accept: accept})
}

type listener struct {
	fd     int
	accept func(fd int)
}

func (l *listener) Readable() error {
	for range 64 { // bounded, so that a storm of connections does not starve the ones that are there
		fd, _, err := unix.Accept4(l.fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if err != nil {
			return nil // EAGAIN, or a connection that went away before it was taken
		}
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) // only speed depends on it
		l.accept(fd)
	}
	return nil
}

func (l *listener) Writable() error { return nil }
func (l *listener) Closed()         {}
