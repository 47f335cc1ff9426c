package idle

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Handler serves a connection that may be in a pool. For each time that a pool took the connection, it calls one of the
// methods, once.
type Handler interface {
	// Resume serves the connection, which became readable or was ended by its peer. It runs on a goroutine of its own.
	// The pool ends it afterwards, unless it has it again.
	Resume(owner *Owner)
	// Closed reports why the connection was closed while it was idle: ErrClosed if the pool closed. It must not block.
	Closed(err error)
}

// Pool holds idle connections. Make it with New; Run resumes them.
type Pool struct {
	fd    int
	epoll *os.File
	ready syscall.RawConn
	crowd chan struct{} // told of every crowd of connections that came

	mu     sync.Mutex // guards the fields below
	slots  []slot
	free   []uint32
	open   int
	came   uint64 // connections so far
	closed bool
}

// slot is where one connection waits. An event names index and generation, because it may be older than the connection
// in the slot.
type slot struct {
	handler    Handler // nil: free
	ends       []func()
	fd         int32
	generation uint32
}

// New makes a pool.
func New() (*Pool, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make pool of idle connections: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("make pool of idle connections: %w", err)
	}
	// The descriptor is non-blocking, so that the runtime's poller waits for it, and no thread does.
	p := &Pool{fd: fd, epoll: os.NewFile(uintptr(fd), "epoll"), crowd: make(chan struct{}, 1)}
	if p.ready, err = p.epoll.SyscallConn(); err != nil {
		_ = p.epoll.Close()
		return nil, fmt.Errorf("make pool of idle connections: %w", err)
	}
	return p, nil
}

// ErrClosed says that the pool was closed.
var ErrClosed = errors.New("pool of idle connections is closed")

// Add moves the connection into the pool until it is readable again; nothing of it may be unread in the process. After
// an error owner is as it was.
func (p *Pool) Add(owner *Owner, h Handler) error {
	raw, err := owner.SyscallConn()
	if err != nil {
		return fmt.Errorf("move connection into pool: %w", err)
	}
	own := -1
	var failed error
	// A duplicate, because the net package cannot let go of a descriptor without closing it.
	err = raw.Control(func(fd uintptr) { own, failed = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) })
	if err = errors.Join(err, failed); err != nil {
		return fmt.Errorf("move connection into pool: %w", err)
	}
	if err := p.add(own, owner.ends, h); err != nil {
		_ = unix.Close(own)
		return fmt.Errorf("move connection into pool: %w", err)
	}
	_ = owner.TCPConn.Close() // only net's descriptor: the connection lives on in ours
	*owner = Owner{}
	return nil
}

func (p *Pool) add(fd int, ends []func(), h Handler) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return ErrClosed
	}
	index := uint32(len(p.slots))
	if n := len(p.free); n > 0 {
		index, p.free = p.free[n-1], p.free[:n-1]
	} else {
		p.slots = append(p.slots, slot{})
	}
	s := &p.slots[index]
	s.handler, s.ends, s.fd = h, ends, int32(fd)
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLONESHOT, Fd: int32(index), Pad: int32(s.generation)}
	if err := unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
		p.empty(index)
		return err
	}
	p.open++
	if p.came++; p.came%crowd == 0 {
		select {
		case p.crowd <- struct{}{}:
		default:
		}
	}
	return nil
}

// empty frees a slot.
func (p *Pool) empty(index uint32) {
	s := &p.slots[index]
	s.handler, s.ends = nil, nil
	s.generation++
	p.free = append(p.free, index)
}

// Len returns how many connections are in the pool.
func (p *Pool) Len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.open
}

// Run resumes connections until ctx is cancelled or the pool closed; then it closes the pool and returns nil.
func (p *Pool) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { p.Close() })
	defer stop()
	var events [64]unix.EpollEvent
	for {
		n := 0
		err := p.ready.Read(func(fd uintptr) bool {
			n, _ = unix.EpollWait(int(fd), events[:], 0) // interrupted: the runtime asks again
			return n > 0
		})
		if err != nil {
			if p.Close() { // it was open: nobody asked for this
				return fmt.Errorf("wait for idle connections: %w", err)
			}
			return nil
		}
		for _, ev := range events[:n] {
			p.resume(uint32(ev.Fd), uint32(ev.Pad))
		}
	}
}

func (p *Pool) resume(index, generation uint32) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return
	}
	s := &p.slots[index]
	if s.handler == nil || s.generation != generation {
		p.mu.Unlock()
		return
	}
	h, ends, fd := s.handler, s.ends, int(s.fd)
	p.empty(index)
	p.open--
	// The epoll instance watches the connection, not the descriptor: closing this one of several does not end it.
	err := unix.EpollCtl(p.fd, unix.EPOLL_CTL_DEL, fd, nil)
	p.mu.Unlock()
	if err != nil {
		_ = unix.Close(fd)
		err = fmt.Errorf("resume connection: %w", err)
	}
	owner := &Owner{ends: ends}
	if err == nil {
		owner.TCPConn, err = restore(fd)
	}
	if err != nil {
		h.Closed(err)
		ended(ends)
		return
	}
	go func() {
		defer owner.End()
		h.Resume(owner)
	}()
}

// restore makes a connection of a descriptor, which is closed in any case.
func restore(fd int) (*net.TCPConn, error) {
	f := os.NewFile(uintptr(fd), "")
	defer f.Close()
	conn, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("resume connection: %w", err)
	}
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		_ = conn.Close()
		return nil, errors.New("resume connection: not TCP")
	}
	return tcp, nil
}

// Close closes every connection in the pool and ends Run. Later calls of Add fail. It reports whether the pool was
// open.
func (p *Pool) Close() bool {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return false
	}
	p.closed = true
	slots := p.slots
	p.slots, p.open = nil, 0
	_ = p.epoll.Close()
	p.mu.Unlock()
	for _, s := range slots {
		if s.handler != nil {
			_ = unix.Close(int(s.fd))
			s.handler.Closed(ErrClosed)
			ended(s.ends)
		}
	}
	return true
}

// crowd is how many connections, once they are idle, are worth giving their memory back to the system.
const crowd = 256

// Trim gives the memory back that a crowd of connections needed before it fell silent. Most of it is stacks, which the
// runtime keeps until a collection. It returns when ctx ends.
func (p *Pool) Trim(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-p.crowd:
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(After): // for the rest of the crowd
		}
		debug.FreeOSMemory()
	}
}
