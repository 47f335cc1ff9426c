// Package nft writes capture rules into the network namespace of the calling thread and proves that they work.
//
// It owns the nftables table "tulle" of both address families and nothing else in the namespace. It must not decide
// what is captured: package redirect does. The one idea: a rule counts only after two proofs. The rule was read back
// from the kernel, and a connection that nobody else could have answered arrived at the proxy's port.
package nft

import (
	"errors"
	"fmt"
	"net"
	"os"
	"reflect"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/tulle-mesh/tulle/injector/redirect"
)

// table is the name of the table in each family.
const table = "tulle"

// Report is the result of Apply.
type Report struct {
	// IPv4 and IPv6 report which families are captured.
	IPv4, IPv6 bool
	// NoIPv6 is why IPv6 is not captured. That is not an error if the namespace has no IPv6 address.
	NoIPv6 error
	// NoLocality is why packets for foreign addresses are redirected too. The proxy refuses them.
	NoLocality error
}

// ErrNoIPv6Capture means that the namespace has IPv6 addresses whose traffic the kernel cannot redirect.
var ErrNoIPv6Capture = errors.New("IPv6 traffic would bypass the proxy")

// Apply replaces table "tulle" with the rules, in one transaction for each family, and reads it back. It may be called
// again: the old rules apply until the new ones do. A family that the kernel does not support is an error only if the
// namespace has addresses of it.
func Apply(rules []redirect.Rule) (Report, error) {
	return apply(rules, applyFamily)
}

// apply does what Apply does; program writes the rules of one family.
func apply(rules []redirect.Rule, program func(family, []redirect.Rule) error) (Report, error) {
	report := Report{IPv4: true, IPv6: true}
	attempt := func(f family) error {
		missing := program(f, rules)
		if !errors.Is(missing, os.ErrNotExist) {
			return missing
		}
		// The kernel lacks an expression. Only the one for locality is optional.
		err := program(f, redirect.WithoutLocality(rules))
		if err == nil {
			report.NoLocality = missing
		}
		return err
	}
	if err := attempt(ipv4); err != nil {
		return Report{}, fmt.Errorf("capture IPv4: %w", err)
	}
	if err := attempt(ipv6); err != nil {
		has, addrErr := hasIPv6()
		if addrErr != nil {
			return Report{}, fmt.Errorf("look for IPv6 addresses: %w", addrErr)
		}
		if has {
			return Report{}, fmt.Errorf("%w: capture IPv6: %w", ErrNoIPv6Capture, err)
		}
		report.IPv6, report.NoIPv6 = false, err
	}
	return report, nil
}

func applyFamily(f family, rules []redirect.Rule) error {
	conn, err := nftables.New(nftables.AsLasting())
	if err != nil {
		return explain(err)
	}
	defer func() { _ = conn.CloseLasting() }()

	// Adding the table first makes its deletion valid in any case; the batch is one transaction.
	t := conn.AddTable(&nftables.Table{Name: table, Family: f.table})
	conn.DelTable(t)
	t = conn.AddTable(t)
	chains := map[redirect.Hook]*nftables.Chain{
		redirect.Inbound:  conn.AddChain(natChain(t, "inbound", nftables.ChainHookPrerouting)),
		redirect.Outbound: conn.AddChain(natChain(t, "outbound", nftables.ChainHookOutput)),
	}
	sent := map[redirect.Hook][]*nftables.Rule{}
	for _, r := range rules {
		exprs, applies := f.exprs(r)
		if !applies {
			continue
		}
		sent[r.Hook] = append(sent[r.Hook], conn.AddRule(&nftables.Rule{Table: t, Chain: chains[r.Hook], Exprs: exprs}))
	}
	if err := conn.Flush(); err != nil {
		return explain(err)
	}
	for hook, chain := range chains {
		if err := readBack(conn, chain, sent[hook]); err != nil {
			return fmt.Errorf("verify %s rules: %w", hook, err)
		}
	}
	return nil
}

func natChain(t *nftables.Table, name string, hook *nftables.ChainHook) *nftables.Chain {
	return &nftables.Chain{Table: t, Name: name, Type: nftables.ChainTypeNAT, Hooknum: hook,
		Priority: nftables.ChainPriorityNATDest}
}

func readBack(conn *nftables.Conn, chain *nftables.Chain, sent []*nftables.Rule) error {
	got, err := conn.GetRules(chain.Table, chain)
	if err != nil {
		return explain(err)
	}
	if len(got) != len(sent) {
		return fmt.Errorf("the kernel holds %d rules of %d", len(got), len(sent))
	}
	for i := range sent {
		if !reflect.DeepEqual(got[i].Exprs, sent[i].Exprs) {
			return fmt.Errorf("the kernel's rule %d is not the one that was sent", i+1)
		}
	}
	return nil
}

// explain adds the remedy to errors that a cluster's configuration causes.
func explain(err error) error {
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf(
			"%w: tulle-init needs the capability NET_ADMIN; a Pod Security level or policy may have taken it away", err)
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EPROTONOSUPPORT), errors.Is(err, unix.EAFNOSUPPORT),
		errors.Is(err, os.ErrNotExist):
		return fmt.Errorf(
			"%w: the node's kernel needs nf_tables with nat (modules nf_tables, nft_chain_nat, nft_redir, nft_fib, "+
				"nf_conntrack)", err)
	}
	return err
}

// hasIPv6 reports whether the namespace has a global unicast IPv6 address.
func hasIPv6() (bool, error) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return false, err
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() == nil && n.IP.IsGlobalUnicast() {
			return true, nil
		}
	}
	return false, nil
}
