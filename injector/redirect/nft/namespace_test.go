package nft

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// namespace is a network namespace that lives as long as its test: one goroutine on one thread that runs functions inside.
type namespace struct {
	fd   int
	work chan func()
}

// newNamespace starts a namespace with its loopback interface up. It skips the test where the machine does not allow one.
func newNamespace(t *testing.T) *namespace {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	n := &namespace{work: make(chan func())}
	started, ended := make(chan error), make(chan struct{})
	go func() {
		defer close(ended)
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			n.fd, err = unix.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		}
		started <- err
		if err != nil {
			return
		}
		for f := range n.work {
			f()
		}
	}()
	if err := <-started; err != nil {
		<-ended
		t.Skipf("no network namespace: %v", err)
	}
	t.Cleanup(func() {
		close(n.work)
		<-ended
		_ = unix.Close(n.fd)
	})
	n.do(t, func() error { return up("lo") })
	return n
}

// do runs f on the namespace's thread.
func (n *namespace) do(t *testing.T, f func() error) {
	t.Helper()
	result := make(chan error)
	n.work <- func() { result <- f() }
	if err := <-result; err != nil {
		t.Fatal(err)
	}
}

// pair connects two namespaces: a pod with a default route by way of its peer, which also has an address in a second network.
func pair(t *testing.T) (pod, peer *namespace) {
	t.Helper()
	pod, peer = newNamespace(t), newNamespace(t)
	pod.do(t, func() error {
		link := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: "eth0", PeerNamespace: netlink.NsFd(peer.fd)}
		return netlink.LinkAdd(link)
	})
	pod.do(t, func() error { return address("10.88.1.2/24", "fd88:1::2/64") })
	peer.do(t, func() error { return address("10.88.1.1/24", "10.88.9.1/24", "fd88:1::1/64", "fd88:9::1/64") })
	pod.do(t, func() error {
		for _, gateway := range []string{"10.88.1.1", "fd88:1::1"} {
			if err := netlink.RouteAdd(&netlink.Route{Gw: net.ParseIP(gateway)}); err != nil {
				return fmt.Errorf("add default route by %s: %w", gateway, err)
			}
		}
		return nil
	})
	return pod, peer
}

func up(name string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(link)
}

func address(cidrs ...string) error {
	if err := up("eth0"); err != nil {
		return err
	}
	link, err := netlink.LinkByName("eth0")
	if err != nil {
		return err
	}
	for _, cidr := range cidrs {
		addr, err := netlink.ParseAddr(cidr)
		if err != nil {
			return err
		}
		addr.Flags = unix.IFA_F_NODAD // usable at once
		if err := netlink.AddrAdd(link, addr); err != nil {
			return fmt.Errorf("add %s: %w", cidr, err)
		}
	}
	return nil
}
