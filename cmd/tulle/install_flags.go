package main

import (
	"fmt"

	"github.com/spf13/pflag"
)

// valueFlags are the flags of install that set one value each.
var valueFlags = []struct{ name, key, usage string }{
	{"admin-port", "proxy.ports.admin", "port of a proxy's metrics and health"},
	{"cluster-domain", "clusterDomain", "DNS domain of the cluster"},
	{"cluster-networks", "clusterNetworks", "CIDRs of the cluster, comma separated"},
	{"control-port", "proxy.ports.control", "port of a proxy's control API"},
	{"controller-gid", "controllerGID", "group of the control plane's processes"},
	{"controller-log-level", "controllerLogLevel", "debug, info, warn or error"},
	{"controller-replicas", "controllerReplicas", "replicas of each control-plane deployment"},
	{"controller-uid", "controllerUID", "user of the control plane's processes"},
	{"default-inbound-policy", "proxy.defaultInboundPolicy", "which peers a port accepts unless a policy says otherwise"},
	{"identity-clock-skew-allowance", "identity.issuer.clockSkewAllowance", "how far clocks may differ"},
	{"identity-issuance-lifetime", "identity.issuer.issuanceLifetime",
		"how long a workload's certificate lasts, at most 24h"},
	{"identity-trust-domain", "identityTrustDomain", "trust domain of every identity"},
	{"image-pull-policy", "imagePullPolicy", "Always, IfNotPresent or Never"},
	{"inbound-port", "proxy.ports.inbound", "port of a proxy's inbound listener"},
	{"outbound-port", "proxy.ports.outbound", "port of a proxy's outbound listener"},
	{"proxy-cpu-limit", "proxy.resources.cpu.limit", "CPU limit of a proxy"},
	{"proxy-cpu-request", "proxy.resources.cpu.request", "CPU request of a proxy"},
	{"proxy-gid", "proxy.gid", "group of a proxy"},
	{"proxy-image", "proxy.image.name", "image of the proxy"},
	{"proxy-log-level", "proxy.logLevel", "log level of a proxy"},
	{"proxy-memory-limit", "proxy.resources.memory.limit", "memory limit of a proxy"},
	{"proxy-memory-request", "proxy.resources.memory.request", "memory request of a proxy"},
	{"proxy-uid", "proxy.uid", "user of a proxy"},
	{"proxy-version", "proxy.image.version", "tag of the proxy's image"},
	{"skip-inbound-ports", "proxyInit.ignoreInboundPorts", "inbound ports that bypass the proxy"},
	{"skip-outbound-ports", "proxyInit.ignoreOutboundPorts", "outbound ports that bypass the proxy"},
}

// flagWithoutMeaning is a flag of linkerd that changes nothing here. It is accepted, so that scripts keep working, and
// says so.
type flagWithoutMeaning struct {
	name, reason string
	valued       bool // takes a value, which --name value may give
}

// acceptWithoutMeaning registers f out of the help's sight.
func acceptWithoutMeaning(fs *pflag.FlagSet, f flagWithoutMeaning) {
	fs.String(f.name, "", "no effect: "+f.reason)
	if !f.valued {
		fs.Lookup(f.name).NoOptDefVal = "true"
	}
	fs.Lookup(f.name).Hidden = true
}

// warnWithoutMeaning says on stderr which of the flags were given.
func (c *cli) warnWithoutMeaning(fs *pflag.FlagSet, flags []flagWithoutMeaning) {
	for _, f := range flags {
		if fs.Changed(f.name) {
			fmt.Fprintf(c.err, "warning: --%s has no effect: %s\n", f.name, f.reason)
		}
	}
}

// installFlagsWithoutMeaning are flags of linkerd install that change nothing here.
var installFlagsWithoutMeaning = []flagWithoutMeaning{
	{name: "disable-h2-upgrade", reason: "HTTP between two proxies is always multiplexed"},
	{name: "disable-heartbeat", reason: "nothing is ever reported home"},
	{name: "enable-endpoint-slices", reason: "EndpointSlices are always used"},
	{name: "enable-external-profiles", reason: "service profiles are not part of this release"},
	{name: "force", reason: "installing again is always allowed"},
	{name: "linkerd-cni-enabled", reason: "there is no CNI plugin; capture is programmed by the init container"},
}
