package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

const (
	fabricBridge = "fabric" // in node 1: joins all nodes and the host
	fabricLink   = "fabric0"
)

// ErrNoFreeCluster says that every fabric of the machine is taken.
var ErrNoFreeCluster = errors.New("no free fabric")

// claimFabric returns the lowest fabric that no cluster of this machine uses, by creating its host interface; the other
// end waits in the namespace of node 1's supervisor.
func claimFabric(pid int) (fabric, error) {
	for id := range maxClusters {
		f := fabric{id: id}
		err := netlink.LinkAdd(&netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: f.hostLink()},
			PeerName:  "host", PeerNamespace: netlink.NsPid(pid),
		})
		if errors.Is(err, unix.EEXIST) {
			continue
		}
		if err != nil {
			return fabric{}, fmt.Errorf("create interface %s: %w", f.hostLink(), err)
		}
		return f, nil
	}
	return fabric{}, fmt.Errorf("%w: %d clusters run on this machine", ErrNoFreeCluster, maxClusters)
}

// connectHost gives the host its address in the fabric. The host does not forward, and no node has a default route.
func connectHost(f fabric, ipv6 bool) error {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("open netlink: %w", err)
	}
	defer h.Close()
	return setUp(h, f.hostLink(), f, hostNumber, ipv6)
}

// releaseFabric removes the host's interface. It usually went with the namespace of its other end.
func releaseFabric(f fabric) error {
	link, err := netlink.LinkByName(f.hostLink())
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find interface %s: %w", f.hostLink(), err)
	}
	if err := netlink.LinkDel(link); err != nil && !errors.Is(err, unix.ENODEV) {
		return fmt.Errorf("remove interface %s: %w", f.hostLink(), err)
	}
	return nil
}

// connectNode wires node n into the fabric and routes the pods of all others to them. pids are the supervisors of nodes
// 1, 2, …
func connectNode(f fabric, n int, pids []int, ipv6 bool) error {
	h, closeNode, err := handleOf(pids[n-1])
	if err != nil {
		return err
	}
	defer closeNode()
	if err := bringUp(h, "lo"); err != nil {
		return err
	}
	link := fabricLink
	if n == 1 {
		link = fabricBridge
		err = addBridge(h)
	} else {
		err = joinBridge(n, pids)
	}
	if err != nil {
		return err
	}
	if err := setUp(h, link, f, n, ipv6); err != nil {
		return err
	}
	if err := routeServices(h, link, ipv6); err != nil {
		return err
	}
	for other := 1; other <= len(pids); other++ {
		if other == n {
			continue
		}
		if err := routePods(h, link, f, other, ipv6); err != nil {
			return err
		}
	}
	return nil
}

// routePods makes the pods of node other reachable through it.
func routePods(h *netlink.Handle, via string, f fabric, other int, ipv6 bool) error {
	link, err := h.LinkByName(via)
	if err != nil {
		return fmt.Errorf("find interface %s: %w", via, err)
	}
	routes := map[netip.Prefix]netip.Addr{pods4(other): f.addr4(other).Addr()}
	if ipv6 {
		routes[pods6(other)] = f.addr6(other).Addr()
	}
	for pods, gateway := range routes {
		err := h.RouteReplace(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(pods), Gw: gateway.AsSlice()})
		if err != nil {
			return fmt.Errorf("route %s through %s: %w", pods, gateway, err)
		}
	}
	return nil
}

func addBridge(h *netlink.Handle) error {
	if err := h.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: fabricBridge}}); err != nil {
		return fmt.Errorf("create bridge %s: %w", fabricBridge, err)
	}
	return enslave(h, "host")
}

// joinBridge lays a cable from node n to the bridge in node 1.
func joinBridge(n int, pids []int) error {
	first, closeFirst, err := handleOf(pids[0])
	if err != nil {
		return err
	}
	defer closeFirst()
	port := nodeName(n)
	err = first.LinkAdd(&netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: port},
		PeerName:  fabricLink, PeerNamespace: netlink.NsPid(pids[n-1]),
	})
	if err != nil {
		return fmt.Errorf("create interface %s: %w", port, err)
	}
	return enslave(first, port)
}

func enslave(h *netlink.Handle, port string) error {
	bridge, err := h.LinkByName(fabricBridge)
	if err != nil {
		return fmt.Errorf("find bridge %s: %w", fabricBridge, err)
	}
	link, err := h.LinkByName(port)
	if err != nil {
		return fmt.Errorf("find interface %s: %w", port, err)
	}
	if err := h.LinkSetMaster(link, bridge); err != nil {
		return fmt.Errorf("plug %s into bridge: %w", port, err)
	}
	return bringUp(h, port)
}

// routeServices gives Service addresses a route. Without one, connect(2) of a process on the node fails before
// kube-proxy's rules can translate the address; nothing answers to these addresses in the fabric itself.
func routeServices(h *netlink.Handle, via string, ipv6 bool) error {
	link, err := h.LinkByName(via)
	if err != nil {
		return fmt.Errorf("find interface %s: %w", via, err)
	}
	ranges := []string{serviceRange4}
	if ipv6 {
		ranges = append(ranges, serviceRange6)
	}
	for _, r := range ranges {
		dst := ipNet(netip.MustParsePrefix(r))
		if err := h.RouteReplace(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: dst}); err != nil {
			return fmt.Errorf("route services %s: %w", r, err)
		}
	}
	return nil
}

func setUp(h *netlink.Handle, name string, f fabric, number int, ipv6 bool) error {
	link, err := h.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find interface %s: %w", name, err)
	}
	addresses := []netip.Prefix{f.addr4(number)}
	if ipv6 {
		addresses = append(addresses, f.addr6(number))
	}
	for _, a := range addresses {
		// Duplicate address detection would leave the IPv6 address unusable for a second; the fabric has no other hosts.
		err := h.AddrReplace(link, &netlink.Addr{IPNet: hostNet(a), Flags: unix.IFA_F_NODAD})
		if err != nil {
			return fmt.Errorf("set address %s of %s: %w", a, name, err)
		}
	}
	return bringUp(h, name)
}

func bringUp(h *netlink.Handle, name string) error {
	link, err := h.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find interface %s: %w", name, err)
	}
	if err := h.LinkSetUp(link); err != nil {
		return fmt.Errorf("bring up interface %s: %w", name, err)
	}
	return nil
}

// handleOf opens netlink in the network namespace of a process.
func handleOf(pid int) (*netlink.Handle, func(), error) {
	ns, err := netns.GetFromPid(pid)
	if err != nil {
		return nil, nil, fmt.Errorf("open network namespace of process %d: %w", pid, err)
	}
	h, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	_ = ns.Close() // the socket stays in the namespace
	if err != nil {
		return nil, nil, fmt.Errorf("open netlink of process %d: %w", pid, err)
	}
	return h, h.Close, nil
}

// ipNet is the network of a prefix, hostNet the address within it.
func ipNet(p netip.Prefix) *net.IPNet { return hostNet(p.Masked()) }

func hostNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// routeFromOthers tells the nodes that ran before where the pods of node n are.
func routeFromOthers(f fabric, n int, pids []int, ipv6 bool) error {
	for other := 1; other < n; other++ {
		h, closeOther, err := handleOf(pids[other-1])
		if err != nil {
			return err
		}
		link := fabricLink
		if other == 1 {
			link = fabricBridge
		}
		err = routePods(h, link, f, n, ipv6)
		closeOther()
		if err != nil {
			return err
		}
	}
	return nil
}
