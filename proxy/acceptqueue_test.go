package proxy

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestFullAcceptQueueIsWaitedFor has an application that accepts nothing for a while. Linux drops the SYN of each
// further connection and sends it again after 1 s. A client without the mesh waits for that, so the proxy must too.
func TestFullAcceptQueueIsWaitedFor(t *testing.T) {
	l := listenWithBacklog(t, 0)
	fillAcceptQueue(t, l.Addr())
	p := startPair(t, pairConfig{app: l.Addr().String()})
	answered := make(chan result, 1)
	go func() { answered <- do(t, client(t, p.addr, false), "GET", "http://cart.shop/", nil) }()
	awaitRetransmittedSYN(t, l.Addr().(*net.TCPAddr).Port)

	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "late")
	})}
	go func() { _ = server.Serve(l) }() // until Close
	t.Cleanup(func() { _ = server.Close() })
	if got := <-answered; got.status != 200 || got.body != "late" {
		t.Errorf("got %d %q, want 200 from the application", got.status, got.body)
	}
}

// listenWithBacklog listens on loopback with an accept queue of backlog+1 connections. The net package offers no way to
// ask for one.
func listenWithBacklog(t *testing.T, backlog int) net.Listener {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), "listener")
	defer file.Close() // FileListener duplicates it
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, backlog); err != nil {
		t.Fatal(err)
	}
	l, err := net.FileListener(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// fillAcceptQueue connects until a connection has to wait.
func fillAcceptQueue(t *testing.T, addr net.Addr) {
	t.Helper()
	for range 16 {
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		c, err := new(net.Dialer).DialContext(ctx, "tcp", addr.String())
		cancel()
		if err != nil {
			return
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	t.Fatal("16 connections were established on a listener that accepts nothing")
}

// awaitRetransmittedSYN returns when a connection to port of 127.0.0.1 is not established and its SYN was sent again.
func awaitRetransmittedSYN(t *testing.T, port int) {
	t.Helper()
	remote := fmt.Sprintf("0100007F:%04X", port)
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		table, err := os.ReadFile("/proc/net/tcp")
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(table)) {
			// sl, local, remote, state (02: SYN_SENT), queues, timer, retransmits: proc_net_tcp.txt of the kernel's
			// documentation.
			if f := strings.Fields(line); len(f) > 6 && f[2] == remote && f[3] == "02" && f[6] != "00000000" {
				return
			}
		}
	}
	t.Fatal("the proxy gave up connecting before the kernel sent its SYN again")
}
