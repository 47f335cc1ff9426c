package relay

import (
	"errors"
	"io"
	"net"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/tulle-mesh/tulle/proxy/sock"
)

// spliceBytes is how much one splice may move; a pipe holds 64 KiB unless it is made larger.
const spliceBytes = 64 << 10

// pipe is a kernel pipe through which splice moves bytes from socket to socket without a copy in this process.
type pipe struct{ r, w int }

// idlePipes keeps pipes for reuse: making one costs as much as four splices. The number bounds idle descriptors.
var idlePipes = make(chan pipe, 16)

func takePipe() (pipe, error) {
	select {
	case p := <-idlePipes:
		return p, nil
	default:
	}
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return pipe{}, err
	}
	return pipe{r: fds[0], w: fds[1]}, nil
}

// recycle puts an empty pipe back.
func (p pipe) recycle() {
	select {
	case idlePipes <- p:
	default:
		p.close()
	}
}

func (p pipe) close() {
	_ = unix.Close(p.r) // nothing can be lost: the pipe is empty or its relay has failed
	_ = unix.Close(p.w)
}

// splicer moves bytes from one socket to another; it holds a pipe only while there are some in it.
type splicer struct {
	pipe    pipe
	hasPipe bool
	n       int // bytes in the pipe
	err     error
}

// splice moves bytes from src to dst inside the kernel until src ends. Without descriptors for a pipe it copies.
func splice(src, dst *End) error {
	if err := sendPrefix(src, dst); err != nil {
		return err
	}
	in, errIn := src.tcp.SyscallConn()
	out, errOut := dst.tcp.SyscallConn()
	if err := errors.Join(errIn, errOut); err != nil {
		return err
	}
	s := &splicer{}
	defer s.end()
	for {
		err := in.Read(s.fill)
		if err == nil {
			err = s.err
		}
		switch {
		case isPipeless(err):
			to := &End{conn: sock.New(dst.tcp, nil), Written: dst.Written, Totals: dst.Totals}
			err := pump(&End{conn: sock.New(src.tcp, nil), Read: src.Read, Totals: src.Totals}, to)
			dst.reset.Store(to.reset.Load())
			return err
		case err != nil:
			return &net.OpError{Op: "splice", Net: "tcp", Addr: src.tcp.RemoteAddr(), Err: err}
		case s.n == 0:
			return nil
		}
		n := s.n
		src.countRead(n)
		if err := out.Write(s.drain); err != nil {
			return err
		}
		if s.err != nil {
			return dst.unwritten(&net.OpError{Op: "splice", Net: "tcp", Addr: dst.tcp.RemoteAddr(), Err: s.err})
		}
		dst.countWritten(n)
	}
}

// sendPrefix writes what was read from src before the relay began.
func sendPrefix(src, dst *End) error {
	if len(src.prefix) == 0 {
		return nil
	}
	src.countRead(len(src.prefix))
	n, err := dst.tcp.Write(src.prefix)
	dst.countWritten(n)
	src.prefix = nil
	return dst.unwritten(err)
}

// isPipeless reports that the process or the system ran out of descriptors.
func isPipeless(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// fill moves bytes into the pipe; false makes the poller wait for more.
func (s *splicer) fill(fd uintptr) bool {
	if !s.hasPipe {
		if s.pipe, s.err = takePipe(); s.err != nil {
			return true
		}
		s.hasPipe = true
	}
	n, err := spliceFDs(int(fd), s.pipe.w, spliceBytes)
	if errors.Is(err, unix.EAGAIN) {
		s.pipe.recycle()
		s.hasPipe = false
		return false
	}
	s.n, s.err = int(n), err
	return true
}

// drain empties the pipe; false makes the poller wait for room.
func (s *splicer) drain(fd uintptr) bool {
	for s.n > 0 {
		n, err := spliceFDs(s.pipe.r, int(fd), s.n)
		if errors.Is(err, unix.EAGAIN) {
			return false
		}
		if err == nil && n == 0 {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			s.err = err
			return true
		}
		s.n -= int(n)
	}
	return true
}

func (s *splicer) end() {
	switch {
	case s.hasPipe && s.n == 0:
		s.pipe.recycle()
	case s.hasPipe:
		s.pipe.close()
	}
}

func spliceFDs(from, to, n int) (int64, error) {
	for {
		moved, err := unix.Splice(from, nil, to, nil, n, unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
		if !errors.Is(err, unix.EINTR) {
			return int64(moved), err
		}
	}
}
