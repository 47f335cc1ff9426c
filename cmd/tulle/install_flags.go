package main

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
	{"identity-issuance-lifetime", "identity.issuer.issuanceLifetime", "how long a workload's certificate lasts, at most 24h"},
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

// flagsWithoutMeaning are flags of linkerd install that change nothing here. They are accepted, so that scripts keep working, and
// say so.
var flagsWithoutMeaning = []struct{ name, reason string }{
	{"disable-h2-upgrade", "HTTP between two proxies is always multiplexed"},
	{"disable-heartbeat", "nothing is ever reported home"},
	{"enable-endpoint-slices", "EndpointSlices are always used"},
	{"enable-external-profiles", "service profiles are not part of this release"},
	{"force", "installing again is always allowed"},
	{"linkerd-cni-enabled", "there is no CNI plugin; capture is programmed by the init container"},
}
