package relay

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	sentTime = time.Second
	sentStep = 5 * time.Millisecond
)

// awaitSent waits until the peer has what was written, for a second at most: the reset that follows would drop it.
func (e *End) awaitSent() {
	c, ok := e.socket().(syscall.Conn)
	if !ok {
		return
	}
	rc, err := c.SyscallConn()
	if err != nil {
		return
	}
	for end := time.Now().Add(sentTime); unacknowledged(rc) > 0 && time.Now().Before(end); {
		time.Sleep(sentStep)
	}
}

// unacknowledged is how many bytes the peer of a socket has yet to acknowledge; 0 if the connection is gone.
func unacknowledged(rc syscall.RawConn) (n int) {
	const closed = 7 // TCP_CLOSE of tcp_states.h: there the kernel counts what it has dropped
	_ = rc.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.SOL_TCP, unix.TCP_INFO); err == nil && info.State != closed {
			n, _ = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ)
		}
	})
	return n
}
