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

// Handler serves a connection that may be in a pool. Each time that the pool took the connection, it later calls
// exactly one of the methods, once.
type Handler interface {
	// Resume serves the connection, which became readable or whose peer ended it. It runs on its own goroutine. The
	// pool ends the connection afterwards, unless the connection is in the pool again.
	Resume(owner *Owner)
	// Closed reports why the connection was closed while it was idle: ErrClosed if the pool closed. It must not block.
	Closed(err error)
}

// Pool holds idle connections. Make one with New; Run resumes them.
type Pool struct {
	fd      int
	epoll   *os.File
	ready   syscall.RawConn
	trimDue chan struct{} // has a token after many connections were added

	mu     sync.Mutex // guards the fields below
	slots  []slot
	free   []uint32
	open   int
	added  uint64 // number of connections added so far
	closed bool
}

// slot holds one connection. An event names index and generation, because the event may be older than the slot's
// connection.
type slot struct {
	handler    Handler // nil: free
	ends       []func()
	fd         int32
	generation uint32
}

// New returns an empty pool.
func New() (*Pool, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make pool of idle connections: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("make pool of idle connections: %w", err)
	}
	// The descriptor is non-blocking: the runtime's poller waits for it, so no thread blocks.
	p := &Pool{fd: fd, epoll: os.NewFile(uintptr(fd), "epoll"), trimDue: make(chan struct{}, 1)}
	if p.ready, err = p.epoll.SyscallConn(); err != nil {
		_ = p.epoll.Close()
		return nil, fmt.Errorf("make pool of idle connections: %w", err)
	}
	return p, nil
}

// ErrClosed means that the pool was closed.
var ErrClosed = errors.New("pool of idle connections is closed")

// Add moves the connection into the pool until it is readable again. The process must have read and handled all bytes
// so far. After an error owner is unchanged.
func (p *Pool) Add(owner *Owner, h Handler) error {
	raw, err := owner.SyscallConn()
	if err != nil {
		return fmt.Errorf("move connection into pool: %w", err)
	}
	own := -1
	var failed error
	// Duplicate the descriptor, because the net package cannot release one without closing it.
	err = raw.Control(func(fd uintptr) { own, failed = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) })
	if err = errors.Join(err, failed); err != nil {
		return fmt.Errorf("move connection into pool: %w", err)
	}
	if err := p.add(own, owner.ends, h); err != nil {
		_ = unix.Close(own)
		return fmt.Errorf("move connection into pool: %w", err)
	}
	_ = owner.TCPConn.Close() // closes only net's descriptor: ours stays open
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
	if p.added++; p.added%trimAfter == 0 {
		select {
		case p.trimDue <- struct{}{}:
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

// Run resumes connections until ctx ends or the pool is closed. Then it closes the pool and returns nil.
func (p *Pool) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { p.Close() })
	defer stop()
	var events [64]unix.EpollEvent
	for {
		n := 0
		err := p.ready.Read(func(fd uintptr) bool {
			n, _ = unix.EpollWait(int(fd), events[:], 0) // interrupted: the runtime polls again
			return n > 0
		})
		if err != nil {
			if p.Close() { // nobody closed the pool, so the error is real
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
	// The epoll instance watches the connection and not the descriptor: closing one of several descriptors does not end
	// it.
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

// restore makes a connection from a descriptor. It closes the descriptor in any case.
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

// trimAfter is the number of connections after which the pool returns their memory to the system once they are idle.
const trimAfter = 256

// Trim returns memory to the system after many connections became idle. Most of it is stacks, which the runtime keeps
// until a garbage collection. Trim runs until ctx ends.
func (p *Pool) Trim(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-p.trimDue:
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(After): // until the other connections are idle too
		}
		debug.FreeOSMemory()
	}
}
