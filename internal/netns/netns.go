// Package netns makes networks for tests: network namespaces, joined by pairs of interfaces or by a bridge.
//
// It owns nothing that outlives a test. It must not import any package of Tulle. The one idea: a namespace is a
// goroutine on a thread of its own, and functions that run there open sockets in it.
package netns

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Interface is the name of the interface that connects a namespace of Pair or Bridge.
const Interface = "eth0"

// Namespace is a network namespace that lives as long as its test.
type Namespace struct {
	fd   int
	work chan func()
}

// New starts a namespace with its loopback interface up. It skips the test if the machine does not allow namespaces.
func New(t testing.TB) *Namespace {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	n := &Namespace{work: make(chan func())}
	started, ended := make(chan error), make(chan struct{})
	go func() {
		defer close(ended)
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
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
	n.Do(t, func() error {
		if err := Sysctl("ipv6/conf/default/accept_dad", "0"); err != nil { // no duplicate address detection
			return err
		}
		return up("lo")
	})
	return n
}

// Do runs f on the namespace's thread, and ends the test if f fails. A process that f starts is in the namespace too.
func (n *Namespace) Do(t testing.TB, f func() error) {
	t.Helper()
	result := make(chan error)
	n.work <- func() { result <- f() }
	if err := <-result; err != nil {
		t.Fatal(err)
	}
}

// Serve accepts TCP connections on an address of the namespace, until the test ends, and calls handle for one after the
// other. On an IPv6 address it accepts only IPv6, so that tests see which family was used.
func (n *Namespace) Serve(t testing.TB, addr netip.AddrPort, handle func(*net.TCPConn)) {
	t.Helper()
	network := "tcp4"
	if addr.Addr().Is6() {
		network = "tcp6"
	}
	var l *net.TCPListener
	n.Do(t, func() (err error) {
		l, err = net.ListenTCP(network, net.TCPAddrFromAddrPort(addr))
		return err
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.AcceptTCP()
			if err != nil {
				return
			}
			handle(conn)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
}

// Pair connects two namespaces. The pod has a default route through its peer, which also has an address in a second
// network.
func Pair(t testing.TB) (pod, peer *Namespace) {
	t.Helper()
	pod, peer = New(t), New(t)
	pod.Do(t, func() error {
		return netlink.LinkAdd(&netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: Interface}, PeerName: Interface, PeerNamespace: netlink.NsFd(peer.fd),
		})
	})
	pod.Do(t, func() error { return AddAddresses("10.88.1.2/24", "fd88:1::2/64") })
	peer.Do(t, func() error { return AddAddresses("10.88.1.1/24", "10.88.9.1/24", "fd88:1::1/64", "fd88:9::1/64") })
	pod.Do(t, func() error {
		for _, gateway := range []string{"10.88.1.1", "fd88:1::1"} {
			if err := netlink.RouteAdd(&netlink.Route{Gw: net.ParseIP(gateway)}); err != nil {
				return fmt.Errorf("add default route by %s: %w", gateway, err)
			}
		}
		return nil
	})
	AwaitAddresses(t, pod, peer)
	return pod, peer
}

// AwaitAddresses returns when the addresses of the namespaces' interfaces are usable. IPv6 addresses are tentative
// until the kernel notices that the far end of the link is up.
func AwaitAddresses(t testing.TB, namespaces ...*Namespace) {
	t.Helper()
	for _, n := range namespaces {
		n.Do(t, func() error {
			for deadline := time.Now().Add(10 * time.Second); ; runtime.Gosched() {
				ready, err := addressesReady()
				if ready || err != nil {
					return err
				}
				if time.Now().After(deadline) {
					return fmt.Errorf("addresses of %s are not usable", Interface)
				}
			}
		})
	}
}

func addressesReady() (bool, error) {
	link, err := netlink.LinkByName(Interface)
	if err != nil {
		return false, err
	}
	addresses, err := netlink.AddrList(link, netlink.FAMILY_V6)
	if err != nil {
		return false, err
	}
	for _, a := range addresses {
		if a.Flags&unix.IFA_F_TENTATIVE != 0 || !a.IP.IsLinkLocalUnicast() && !isLocal(a.IP) {
			return false, nil
		}
	}
	return link.Attrs().OperState == netlink.OperUp, nil
}

func isLocal(ip net.IP) bool {
	routes, err := netlink.RouteGet(ip)
	return err == nil && len(routes) > 0 && routes[0].Type == unix.RTN_LOCAL
}

// Bridge connects namespaces on one layer 2, like the pods of a node. Each host lists the addresses of one namespace
// with their prefix lengths.
func Bridge(t testing.TB, hosts ...[]string) []*Namespace {
	t.Helper()
	node := New(t)
	node.Do(t, func() error {
		if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br0"}}); err != nil {
			return err
		}
		return up("br0")
	})
	out := make([]*Namespace, len(hosts))
	for i, addresses := range hosts {
		out[i] = New(t)
		node.Do(t, func() error {
			bridge, err := netlink.LinkByName("br0")
			if err != nil {
				return err
			}
			port := fmt.Sprintf("port%d", i)
			link := &netlink.Veth{
				LinkAttrs: netlink.LinkAttrs{Name: port, MasterIndex: bridge.Attrs().Index},
				PeerName:  Interface, PeerNamespace: netlink.NsFd(out[i].fd),
			}
			if err := netlink.LinkAdd(link); err != nil {
				return err
			}
			return up(port)
		})
		out[i].Do(t, func() error { return AddAddresses(addresses...) })
	}
	AwaitAddresses(t, out...)
	return out
}

func up(name string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(link)
}

// AddAddresses adds addresses to the calling thread's namespace, each with its prefix length.
func AddAddresses(cidrs ...string) error {
	if err := up(Interface); err != nil {
		return err
	}
	link, err := netlink.LinkByName(Interface)
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

// Sysctl sets a kernel parameter of the calling thread's namespace; name is its path below /proc/sys/net.
func Sysctl(name, value string) error {
	return os.WriteFile("/proc/sys/net/"+name, []byte(value), 0)
}
