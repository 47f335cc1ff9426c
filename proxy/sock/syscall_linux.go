package sock

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// These are raw system calls: the descriptors are non-blocking, so the scheduler need not know about the calls.

// enableInq makes the kernel report with every read how much is left (TCP_INQ). It reports whether the socket supports
// it.
func enableInq(rc syscall.RawConn) bool {
	var serr error
	err := rc.Control(func(fd uintptr) {
		serr = unix.SetsockoptInt(int(fd), unix.SOL_TCP, unix.TCP_INQ, 1)
	})
	return err == nil && serr == nil
}

// shutdown ends both directions and wakes blocked readers and writers. An error means that the connection has already
// ended.
func shutdown(rc syscall.RawConn) {
	_ = rc.Control(func(fd uintptr) { _ = unix.Shutdown(int(fd), unix.SHUT_RDWR) })
}

// hangup reports whether a socket has ended in both directions. broken is the error, if an error ended it.
func hangup(fd uintptr) (ended bool, broken error) {
	fds := [1]unix.PollFd{{Fd: int32(fd)}}
	n, err := unix.Poll(fds[:], 0)
	if err != nil || n == 0 || fds[0].Revents&(unix.POLLERR|unix.POLLHUP) == 0 {
		return false, nil
	}
	if code, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR); err == nil && code != 0 {
		return true, syscall.Errno(code)
	}
	return true, nil
}

// pending returns how many bytes a socket has to read, at most 1; 0 means the end of the stream. It consumes nothing.
func pending(fd uintptr) (n int, err error) {
	var b [1]byte
	n, _, err = unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
	return n, err
}

type recvState struct {
	msg unix.Msghdr
	iov unix.Iovec
	oob [32]byte
}

// recvmsg reads into p. left is how many bytes the socket still has, or at least 1 if its end is pending. left is -1
// without TCP_INQ.
func (r *recvState) recvmsg(fd uintptr, p []byte) (n, left int, err error) {
	r.iov.Base = &p[0]
	r.iov.SetLen(len(p))
	r.msg.Iov, r.msg.Iovlen = &r.iov, 1
	r.msg.Control, r.msg.Controllen = &r.oob[0], uint64(len(r.oob))
	got, _, errno := syscall.RawSyscall(syscall.SYS_RECVMSG, fd, uintptr(unsafe.Pointer(&r.msg)), 0)
	r.iov.Base = nil
	if errno != 0 {
		return 0, -1, errno
	}
	left = -1
	if r.msg.Controllen >= unix.SizeofCmsghdr {
		if h := (*unix.Cmsghdr)(unsafe.Pointer(&r.oob[0])); h.Level == unix.SOL_TCP && h.Type == unix.TCP_CM_INQ {
			left = int(*(*int32)(unsafe.Pointer(&r.oob[unix.CmsgLen(0)])))
		}
	}
	return int(got), left, nil
}

type writevState struct{ iov [16]unix.Iovec }

// do writes bufs without their first skip bytes. skip must be less than the length of the first buffer.
func (w *writevState) do(fd uintptr, bufs [][]byte, skip int) (int, error) {
	count := 0
	for _, b := range bufs {
		b = b[skip:]
		skip = 0
		if len(b) == 0 {
			continue
		}
		w.iov[count].Base = &b[0]
		w.iov[count].SetLen(len(b))
		if count++; count == len(w.iov) {
			break
		}
	}
	if count == 1 { // sendto is cheaper in the kernel than writev
		n, _, errno := syscall.RawSyscall6(syscall.SYS_SENDTO, fd, uintptr(unsafe.Pointer(w.iov[0].Base)),
			uintptr(w.iov[0].Len),
			syscall.MSG_NOSIGNAL, 0, 0)
		w.iov[0] = unix.Iovec{}
		if errno != 0 {
			return 0, errno
		}
		return int(n), nil
	}
	n, _, errno := syscall.RawSyscall(syscall.SYS_WRITEV, fd, uintptr(unsafe.Pointer(&w.iov[0])), uintptr(count))
	clear(w.iov[:count])
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
