package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
)

// sleepCommand waits for SIGTERM, so that a pod is there to execute the other commands in.
func sleepCommand([]string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	<-ctx.Done()
	return nil
}

// capture is what passed the node's interfaces.
type capture struct {
	Packets int `json:"packets"`
	Bytes   int `json:"bytes"`
	// Found counts packets that hold the marker in plain text.
	Found int    `json:"found"`
	First string `json:"first,omitempty"`
	// TLS counts packets that begin with a TLS application-data record.
	TLS int `json:"tls"`
}

// captureCommand reads every packet that passes an interface of the node, but for its own loopback, until its standard
// input ends, as tcpdump would, and looks for a marker. It prints "capturing" to its standard error when it has begun.
// It needs the host's network and CAP_NET_RAW.
func captureCommand(args []string) error {
	fs := flags("capture")
	marker := fs.String("marker", "", "bytes to look for")
	_ = fs.Parse(args)

	const allProtocols = 0x0003 << 8 // ETH_P_ALL in network byte order
	fd, err := syscall.Socket(syscall.AF_PACKET, syscall.SOCK_RAW, allProtocols)
	if err != nil {
		return fmt.Errorf("open a packet socket: %w", err)
	}
	defer func() { _ = syscall.Close(fd) }()
	_ = syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_RCVBUFFORCE, 64<<20)
	timeout := syscall.Timeval{Usec: 200_000}
	if err := syscall.SetsockoptTimeval(fd, syscall.SOL_SOCKET, syscall.SO_RCVTIMEO, &timeout); err != nil {
		return err
	}
	var ended atomic.Bool
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		ended.Store(true)
	}()
	fmt.Fprintln(os.Stderr, "capturing")
	var c capture
	buf := make([]byte, 1<<17)
	for {
		n, from, err := syscall.Recvfrom(fd, buf, 0)
		switch {
		case err == nil && isLoopback(from): // kubectl exec's own streams
		case err == nil:
			c.look(buf[:n], []byte(*marker))
		case !errors.Is(err, syscall.EAGAIN) && !errors.Is(err, syscall.EINTR):
			return err
		case ended.Load(): // and nothing is left to read
			return printJSON(c)
		}
	}
}

func isLoopback(from syscall.Sockaddr) bool {
	link, ok := from.(*syscall.SockaddrLinklayer)
	return ok && link.Hatype == syscall.ARPHRD_LOOPBACK
}

func (c *capture) look(packet, marker []byte) {
	c.Packets++
	c.Bytes += len(packet)
	if bytes.Contains(packet, []byte{0x17, 0x03, 0x03}) {
		c.TLS++
	}
	if bytes.Contains(packet, marker) {
		c.Found++
		if c.First == "" {
			c.First = fmt.Sprintf("%q", packet[:min(len(packet), 200)])
		}
	}
}

// killCommand sends SIGKILL to the processes of one container, found by its ID in /proc. It needs the host's process
// namespace.
func killCommand(args []string) error {
	fs := flags("kill")
	container := fs.String("container", "", "container ID")
	_ = fs.Parse(args)
	if len(*container) < 12 {
		return fmt.Errorf("container ID %q is too short to be one", *container)
	}
	killed := 0
	dirs, _ := filepath.Glob("/proc/[0-9]*/cgroup")
	for _, file := range dirs {
		data, err := os.ReadFile(file)
		if err != nil || !strings.Contains(string(data), *container) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			continue
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			return fmt.Errorf("kill %d: %w", pid, err)
		}
		killed++
	}
	if killed == 0 {
		return fmt.Errorf("no process of container %s", *container)
	}
	return printJSON(map[string]int{"killed": killed})
}

// spiffeCommand shakes hands with a proxy as a go-spiffe client would, and prints whom it authenticated.
func spiffeCommand(args []string) error {
	fs := flags("spiffe")
	addr := fs.String("addr", "", "host:port of a meshed pod")
	id := fs.String("id", "", "SPIFFE ID to require")
	roots := fs.String("roots", "/var/run/tulle/trust-roots/ca-bundle.crt", "trust anchors, PEM")
	alpn := fs.String("alpn", "tulle.dev/h2", "application protocol of mesh TLS")
	_ = fs.Parse(args)

	want, err := spiffeid.FromString(*id)
	if err != nil {
		return err
	}
	bundle, err := x509bundle.Load(want.TrustDomain(), *roots)
	if err != nil {
		return err
	}
	config := tlsconfig.TLSClientConfig(bundle, tlsconfig.AuthorizeID(want))
	config.NextProtos = []string{*alpn}
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 10 * time.Second}, "tcp", *addr, config)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	state := conn.ConnectionState()
	return printJSON(map[string]string{
		"id": state.PeerCertificates[0].URIs[0].String(), "alpn": state.NegotiatedProtocol,
		"version": tls.VersionName(state.Version), "curve": state.CurveID.String(),
	})
}
