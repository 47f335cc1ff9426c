// Package park keeps idle connections as bare descriptors.
//
// It owns the descriptors while nothing is read from them; it must not import anything of the proxy and knows nothing of protocols.
// The one idea: a connection that has been silent for a while needs no goroutine, no buffers and no net.Conn, only somebody who sees
// that it became readable. So a pod with ten thousand idle clients pays a few hundred bytes for each.
package park

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Sleeper is what becomes of a parked connection; exactly one of its methods is called, once, on the goroutine of Run or Park.
type Sleeper interface {
	// Wake is given the connection when it became readable or was ended by its peer. It owns it and must not block.
	Wake(conn *net.TCPConn)
	// Evict is called when the connection was closed here: the lot closed, or the connection could not be made whole again.
	Evict(err error)
}

// Lot holds parked connections. Make it with New; Run wakes them.
type Lot struct {
	fd    int
	epoll *os.File
	ready syscall.RawConn

	mu     sync.Mutex // guards the fields below
	places []place
	free   []uint32
	parked int
	closed bool
}

// place is where one connection stands. An event names index and generation, because it may be older than what stands there now.
type place struct {
	sleeper    Sleeper // nil: free
	fd         int32
	generation uint32
}

// New makes a lot.
func New() (*Lot, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make parking lot: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("make parking lot: %w", err)
	}
	l := &Lot{fd: fd, epoll: os.NewFile(uintptr(fd), "epoll")} // non-blocking, so that the runtime's poller waits for it: no thread does
	if l.ready, err = l.epoll.SyscallConn(); err != nil {
		_ = l.epoll.Close()
		return nil, fmt.Errorf("make parking lot: %w", err)
	}
	return l, nil
}

// ErrClosed is what sleepers are evicted with when the lot closes.
var ErrClosed = errors.New("park: closed")

// Park takes conn, of which nothing is unread in the process, until it is readable again. After an error conn is as it was.
func (l *Lot) Park(conn *net.TCPConn, s Sleeper) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return fmt.Errorf("park connection: %w", err)
	}
	own := -1
	var failed error
	// A duplicate, because the net package cannot let go of a descriptor without closing it.
	err = raw.Control(func(fd uintptr) { own, failed = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) })
	if err = errors.Join(err, failed); err != nil {
		return fmt.Errorf("park connection: %w", err)
	}
	if err := l.add(own, s); err != nil {
		_ = unix.Close(own)
		return fmt.Errorf("park connection: %w", err)
	}
	_ = conn.Close() // only net's descriptor: the connection lives on in ours
	return nil
}

func (l *Lot) add(fd int, s Sleeper) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return ErrClosed
	}
	index := uint32(len(l.places))
	if n := len(l.free); n > 0 {
		index, l.free = l.free[n-1], l.free[:n-1]
	} else {
		l.places = append(l.places, place{})
	}
	p := &l.places[index]
	p.sleeper, p.fd = s, int32(fd)
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLONESHOT, Fd: int32(index), Pad: int32(p.generation)}
	if err := unix.EpollCtl(l.fd, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
		l.leave(index)
		return err
	}
	l.parked++
	return nil
}

// leave empties a place.
func (l *Lot) leave(index uint32) {
	p := &l.places[index]
	p.sleeper = nil
	p.generation++
	l.free = append(l.free, index)
}

// Len returns how many connections are parked.
func (l *Lot) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.parked
}

// Run wakes connections until ctx is cancelled or the lot closed; then it closes the lot and returns nil.
func (l *Lot) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	var events [64]unix.EpollEvent
	for {
		n := 0
		err := l.ready.Read(func(fd uintptr) bool {
			n, _ = unix.EpollWait(int(fd), events[:], 0) // interrupted: the runtime asks again
			return n > 0
		})
		if err != nil {
			if l.Close() { // it was open: nobody asked for this
				return fmt.Errorf("wait for parked connections: %w", err)
			}
			return nil
		}
		for _, ev := range events[:n] {
			l.wake(uint32(ev.Fd), uint32(ev.Pad))
		}
	}
}

func (l *Lot) wake(index, generation uint32) {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return
	}
	p := &l.places[index]
	if p.sleeper == nil || p.generation != generation {
		l.mu.Unlock()
		return
	}
	s, fd := p.sleeper, int(p.fd)
	l.leave(index)
	l.parked--
	// The epoll instance watches the connection, not the descriptor: closing this one of several does not end it.
	err := unix.EpollCtl(l.fd, unix.EPOLL_CTL_DEL, fd, nil)
	l.mu.Unlock()
	if err != nil {
		_ = unix.Close(fd)
		s.Evict(fmt.Errorf("wake connection: %w", err))
		return
	}

	conn, err := restore(fd)
	if err != nil {
		s.Evict(err)
		return
	}
	s.Wake(conn)
}

// restore makes a connection of a descriptor, which is closed in any case.
func restore(fd int) (*net.TCPConn, error) {
	f := os.NewFile(uintptr(fd), "")
	defer f.Close()
	conn, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("restore connection: %w", err)
	}
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		_ = conn.Close()
		return nil, errors.New("restore connection: not TCP")
	}
	return tcp, nil
}

// Close closes every parked connection and ends Run. Later calls of Park fail. It reports whether the lot was open.
func (l *Lot) Close() bool {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return false
	}
	l.closed = true
	places := l.places
	l.places, l.parked = nil, 0
	_ = l.epoll.Close()
	l.mu.Unlock()
	for _, p := range places {
		if p.sleeper != nil {
			_ = unix.Close(int(p.fd))
			p.sleeper.Evict(ErrClosed)
		}
	}
	return true
}
