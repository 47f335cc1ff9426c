package proxy

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"

	"github.com/tulle-mesh/tulle/identity/workload"
	"github.com/tulle-mesh/tulle/internal/latest"
	"github.com/tulle-mesh/tulle/mesh"
)

// Local is a proxy without control plane and without redirected traffic: each listener has one fixed destination. It is
// for laptops, benchmarks and tests.
type Local struct {
	Certs *workload.Manager // nil: no mesh TLS either way
	Admin netip.AddrPort    // invalid: no admin server
	Tap   netip.AddrPort    // invalid: nobody may watch; otherwise TapID may
	TapID string            // a SPIFFE ID; "": Settings.TapID
	// Profiling enables /debug/pprof on the admin server.
	Profiling bool
	Outbound  []LocalOutbound
	Inbound   []LocalInbound
}

// LocalOutbound is a listener for an application's connections to one target.
type LocalOutbound struct {
	Listen netip.AddrPort
	Value  mesh.Outbound // what the target resolves to
}

// LocalInbound is a listener for peers' connections to one application.
type LocalInbound struct {
	Listen  netip.AddrPort
	AppAddr netip.AddrPort
	Policy  mesh.PortPolicy
}

// localFile is the JSON form of Local.
type localFile struct {
	// Certificate, Key and Anchors are PEM files; all or none.
	Certificate string              `json:"certificate,omitempty"`
	Key         string              `json:"key,omitempty"`
	Anchors     string              `json:"anchors,omitempty"`
	Admin       netip.AddrPort      `json:"admin,omitzero"`
	Tap         netip.AddrPort      `json:"tap,omitzero"`
	TapID       string              `json:"tapID,omitempty"`
	Profiling   bool                `json:"profiling,omitempty"`
	Outbound    []localOutboundFile `json:"outbound,omitempty"`
	Inbound     []localInboundFile  `json:"inbound,omitempty"`
}

type localOutboundFile struct {
	Listen    netip.AddrPort      `json:"listen"`
	Authority string              `json:"authority,omitempty"`
	Protocol  string              `json:"protocol,omitempty"` // detect (default), http1, http2, opaque
	Endpoints []localEndpointFile `json:"endpoints"`
}

type localEndpointFile struct {
	Addr     netip.AddrPort `json:"addr"`
	Identity string         `json:"identity,omitempty"` // empty: plaintext
	Weight   uint32         `json:"weight,omitempty"`
}

type localInboundFile struct {
	Listen          netip.AddrPort `json:"listen"`
	AppAddr         netip.AddrPort `json:"app"`
	Protocol        string         `json:"protocol,omitempty"`
	Policy          string         `json:"policy,omitempty"` // an access policy; all-unauthenticated by default
	RequireIdentity bool           `json:"requireIdentity,omitempty"`
}

// ParseLocal decodes the JSON form of Local and loads the files that it names. An unknown field is an error.
func ParseLocal(data []byte) (*Local, error) {
	var file localFile
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&file); err != nil {
		return nil, fmt.Errorf("parse local configuration: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("parse local configuration: trailing data")
	}
	if file.Tap.IsValid() != (file.TapID != "") {
		return nil, errors.New("parse local configuration: tap and tapID need each other")
	}
	local := &Local{Admin: file.Admin, Tap: file.Tap, TapID: file.TapID, Profiling: file.Profiling}
	for i, o := range file.Outbound {
		out, err := o.outbound()
		if err != nil {
			return nil, fmt.Errorf("parse local configuration: outbound %d: %w", i, err)
		}
		local.Outbound = append(local.Outbound, out)
	}
	for i, in := range file.Inbound {
		parsed, err := in.inbound()
		if err != nil {
			return nil, fmt.Errorf("parse local configuration: inbound %d: %w", i, err)
		}
		local.Inbound = append(local.Inbound, parsed)
	}
	return local, local.load(&file)
}

// load reads the certificate and the anchors.
func (l *Local) load(file *localFile) error {
	if file.Certificate == "" && file.Key == "" && file.Anchors == "" {
		return nil
	}
	cert, err := tls.LoadX509KeyPair(file.Certificate, file.Key)
	if err != nil {
		return fmt.Errorf("load certificate: %w", err)
	}
	text, err := os.ReadFile(file.Anchors)
	if err != nil {
		return fmt.Errorf("load anchors: %w", err)
	}
	roots, err := mesh.ParseRoots(text)
	if err != nil {
		return fmt.Errorf("load anchors %s: %w", file.Anchors, err)
	}
	if l.Certs, err = workload.Static(cert, roots); err != nil {
		return fmt.Errorf("load certificate: %w", err)
	}
	return nil
}

func (o *localOutboundFile) outbound() (LocalOutbound, error) {
	protocol, err := parseProtocol(o.Protocol)
	if err != nil {
		return LocalOutbound{}, err
	}
	out := LocalOutbound{Listen: o.Listen, Value: mesh.Outbound{
		Kind: mesh.ToService, Authority: o.Authority, Protocol: protocol,
	}}
	for _, e := range o.Endpoints {
		endpoint := mesh.Endpoint{Addr: e.Addr, Weight: e.Weight}
		if e.Identity != "" {
			if endpoint.Identity, err = mesh.ParseID(e.Identity); err != nil {
				return LocalOutbound{}, err
			}
		}
		out.Value.Endpoints = append(out.Value.Endpoints, endpoint)
	}
	return out, nil
}

func (in *localInboundFile) inbound() (LocalInbound, error) {
	protocol, err := parseProtocol(in.Protocol)
	if err != nil {
		return LocalInbound{}, err
	}
	policy := mesh.AllUnauthenticated
	if in.Policy != "" {
		if policy, err = mesh.ParseAccessPolicy(in.Policy); err != nil {
			return LocalInbound{}, err
		}
	}
	return LocalInbound{Listen: in.Listen, AppAddr: in.AppAddr, Policy: mesh.PortPolicy{
		Protocol: protocol, Policy: policy, RequireIdentity: in.RequireIdentity,
	}}, nil
}

func parseProtocol(s string) (mesh.Protocol, error) {
	switch s {
	case "", "detect":
		return mesh.Detect, nil
	case "http1":
		return mesh.HTTP1, nil
	case "http2":
		return mesh.HTTP2, nil
	case "opaque":
		return mesh.Opaque, nil
	default:
		return 0, fmt.Errorf("protocol %q: want detect, http1, http2 or opaque", s)
	}
}

// fixedSource is the source of local mode. Its values never change: a target is the address of the listener that serves
// it. It is complete before the proxy accepts its first connection.
type fixedSource struct {
	outbound map[mesh.Target]*latest.Cell[*mesh.Outbound]
	inbound  latest.Cell[*mesh.Inbound]
}

// newFixedSource makes the source of a local configuration.
func newFixedSource(local *Local) (*fixedSource, error) {
	f := &fixedSource{outbound: map[mesh.Target]*latest.Cell[*mesh.Outbound]{}}
	for i, o := range local.Outbound {
		for _, e := range o.Value.Endpoints {
			if !e.Identity.IsZero() && local.Certs == nil {
				return nil, fmt.Errorf(
					"local outbound %d: endpoint %s has an identity, but there is no certificate to connect with", i, e.Addr)
			}
		}
	}
	in := &mesh.Inbound{Default: mesh.PortPolicy{Policy: mesh.Deny}, Ports: map[uint16]mesh.PortPolicy{}}
	for _, l := range local.Inbound {
		in.Ports[l.AppAddr.Port()] = l.Policy
	}
	f.inbound.Store(in)
	return f, nil
}

// add makes value the value of the target addr, which is the address of a listener.
func (f *fixedSource) add(addr netip.AddrPort, value mesh.Outbound) {
	cell := &latest.Cell[*mesh.Outbound]{}
	cell.Store(&value)
	f.outbound[mesh.Target{Addr: addr}] = cell
}

// Watch returns the cell of a listener's target. It panics for any other: no connection can ask for it.
func (f *fixedSource) Watch(t mesh.Target) *latest.Cell[*mesh.Outbound] {
	cell, ok := f.outbound[t]
	if !ok {
		panic("proxy: no local target " + t.Addr.String())
	}
	return cell
}

// Unwatch does nothing.
func (f *fixedSource) Unwatch(mesh.Target) {}

// Inbound returns the policy of the local inbound listeners.
func (f *fixedSource) Inbound() *latest.Cell[*mesh.Inbound] { return &f.inbound }
