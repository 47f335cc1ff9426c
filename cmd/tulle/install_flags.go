package main

import (
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tulle-mesh/tulle/cli/installation"
	"github.com/tulle-mesh/tulle/install"
	"github.com/tulle-mesh/tulle/install/manifests"
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

// settingsFlags adds the flags that change an installation. The function that it returns sets the options from them;
// call it when the command runs.
func (c *cli) settingsFlags(cmd *cobra.Command, opts *installation.Options) func() {
	fs := cmd.Flags()
	fs.BoolVar(&opts.HA, "ha", false, "three replicas of everything, spread over nodes, with disruption budgets")
	fs.StringArrayVar(&opts.Set, "set", nil, "set a value: key=value,...; docs/cli.md#values-of-install lists the keys")
	fs.StringArrayVar(&opts.SetString, "set-string", nil, "set a value that is a text: key=value,...")
	fs.StringArrayVar(&opts.SetFile, "set-file", nil, "set a value to the content of a file: key=path,...")
	fs.StringArrayVarP(&opts.ValueFiles, "values", "f", nil, "file or https URL of values; may be repeated, the last wins")
	fs.StringVar(&opts.Registry, "registry", "", "prefix of both images, instead of ghcr.io/tulle-mesh")
	fs.StringVar(&opts.AnchorsFile, "identity-trust-anchors-file", "", "PEM file of the trust anchors")
	fs.StringVar(&opts.CertFile, "identity-issuer-certificate-file", "", "PEM file of the issuer's certificate")
	fs.StringVar(&opts.KeyFile, "identity-issuer-key-file", "", "PEM file of the issuer's key")
	fs.BoolVar(&opts.ExternalIssuer, "identity-external-issuer", false,
		"the Secret tulle-identity-issuer is kept by somebody else, such as cert-manager; needs "+
			"--identity-trust-anchors-file or --identity-external-ca")
	fs.BoolVar(&opts.ExternalCA, "identity-external-ca", false,
		"the ConfigMaps tulle-identity-trust-roots are kept by somebody else, such as trust-manager")
	for _, f := range valueFlags {
		fs.String(f.name, "", fmt.Sprintf("%s (%s)", f.usage, f.key))
	}
	for _, f := range installFlagsWithoutMeaning {
		acceptWithoutMeaning(fs, f)
	}
	return func() {
		opts.Target = install.Target{Namespace: c.flags.controlNamespace, Version: version}
		opts.Render = manifests.Render
		opts.Read, opts.Log, opts.Verbose = c.sources().Read, c.err, c.flags.verbose
		for _, f := range valueFlags {
			if flag := fs.Lookup(f.name); flag.Changed {
				opts.Flags = append(opts.Flags, installation.FlagValue{Flag: f.name, Key: f.key, Value: flag.Value.String()})
			}
		}
		c.warnWithoutMeaning(fs, installFlagsWithoutMeaning)
	}
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
	{name: "linkerd-cni-enabled", reason: "there is no CNI plugin; capture is programmed by the init container"},
}
