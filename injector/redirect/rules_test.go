package redirect

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tulle-mesh/tulle/mesh"
)

func TestRules(t *testing.T) {
	c := mesh.CaptureConfig{
		OutboundPort: 4140, InboundPort: 4143, ProxyUID: 2102,
		SkipInboundPorts:  mesh.PortSet{{First: 22, Last: 22}, {First: 4190, Last: 4191}},
		SkipOutboundPorts: mesh.PortSet{{First: 3306, Last: 3306}},
		SkipSubnets:       []netip.Prefix{netip.MustParsePrefix("10.1.2.3/8"), netip.MustParsePrefix("fd00::/8")},
	}
	var got []string
	for _, r := range Rules(c) {
		got = append(got, r.String())
	}
	want := []string{
		"inbound: interface lo: pass",
		"inbound: from 127.0.0.0/8: drop",
		"inbound: to 127.0.0.0/8: drop",
		"inbound: from ::1/128: drop",
		"inbound: to ::1/128: drop",
		"inbound: from ::ffff:0.0.0.0/96: drop",
		"inbound: to ::ffff:0.0.0.0/96: drop",
		"inbound: to no address of the pod: pass",
		"inbound: from 10.0.0.0/8: pass",
		"inbound: from fd00::/8: pass",
		"inbound: tcp port 22: pass",
		"inbound: tcp port 4190-4191: pass",
		"inbound: all tcp: redirect to :4143",
		"outbound: user 2102: pass",
		"outbound: interface lo: pass",
		"outbound: to 10.0.0.0/8: pass",
		"outbound: to fd00::/8: pass",
		"outbound: tcp port 3306: pass",
		"outbound: all tcp: redirect to :4140",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestProbeTargets(t *testing.T) {
	prefix := netip.MustParsePrefix
	for _, tt := range []struct {
		name   string
		config mesh.CaptureConfig
		want   []string
	}{
		{"nothing is skipped", mesh.CaptureConfig{}, []string{"192.0.2.1:80", "[2001:db8::1]:80"}},
		{"skipped ports are passed over", mesh.CaptureConfig{SkipOutboundPorts: mesh.PortSet{{First: 80, Last: 442}}},
			[]string{"192.0.2.1:443", "[2001:db8::1]:443"}},
		{"ports wrap around", mesh.CaptureConfig{SkipOutboundPorts: mesh.PortSet{{First: 2, Last: 65535}}},
			[]string{"192.0.2.1:1", "[2001:db8::1]:1"}},
		{"every port is skipped", mesh.CaptureConfig{SkipOutboundPorts: mesh.PortSet{{First: 1, Last: 65535}}}, nil},
		{"a skipped network is passed over", mesh.CaptureConfig{SkipSubnets: []netip.Prefix{prefix("192.0.0.0/16")}},
			[]string{"198.51.100.1:80", "[2001:db8::1]:80"}},
		{"a whole family is skipped", mesh.CaptureConfig{SkipSubnets: []netip.Prefix{prefix("::/0")}},
			[]string{"192.0.2.1:80"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, target := range ProbeTargets(tt.config) {
				got = append(got, target.String())
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
