package main

import (
	"errors"
	"fmt"
	"net"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"

	"github.com/tulle-mesh/tulle/injector/redirect"
	"github.com/tulle-mesh/tulle/injector/redirect/nft"
	"github.com/tulle-mesh/tulle/mesh"
)

// Names of the pod's network interface and of the far end that nobody is at.
const (
	podLink = "pod0"
	farLink = "pod1"
)

// serviceNetwork is what the interface leads to: nowhere, were it not for the capture.
const serviceNetwork = "10.96.0.0/12"

// enterPod gives the network namespace what a pod's has: an interface by which addresses of Services are reached, and
// the rules of the pod's init container, which capture what would leave by it. Traffic over loopback stays as it is.
// leave takes both away.
func enterPod(address string, outboundPort uint16) (leave func() error, err error) {
	leave = func() error { return errors.Join(removeCapture(), removeLink()) }
	if err := addLink(address); err != nil {
		return nil, errors.Join(fmt.Errorf("add interface: %w", err), removeLink())
	}
	capture := mesh.CaptureConfig{OutboundPort: outboundPort, InboundPort: mesh.InboundPort, ProxyUID: mesh.ProxyUID}
	if _, err := nft.Apply(redirect.Rules(capture)); err != nil {
		return nil, errors.Join(err, leave())
	}
	return leave, nil
}

func addLink(address string) error {
	own := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: podLink}, PeerName: farLink}
	if err := netlink.LinkAdd(own); err != nil {
		return err
	}
	addr, err := netlink.ParseAddr(address)
	if err != nil {
		return err
	}
	if err := netlink.AddrAdd(own, addr); err != nil {
		return err
	}
	for _, name := range []string{podLink, farLink} {
		link, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		if err := netlink.LinkSetUp(link); err != nil {
			return err
		}
	}
	_, services, err := net.ParseCIDR(serviceNetwork)
	if err != nil {
		return err
	}
	return netlink.RouteAdd(&netlink.Route{LinkIndex: own.Attrs().Index, Scope: netlink.SCOPE_LINK, Dst: services})
}

func removeLink() error {
	link, err := netlink.LinkByName(podLink)
	if err != nil {
		return nil // there is none
	}
	return netlink.LinkDel(link)
}

func removeCapture() error {
	conn := &nftables.Conn{}
	tables, err := conn.ListTables()
	if err != nil {
		return fmt.Errorf("remove capture: %w", err)
	}
	for _, t := range tables {
		if t.Name == "tulle" {
			conn.DelTable(t)
		}
	}
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("remove capture: %w", err)
	}
	return nil
}
