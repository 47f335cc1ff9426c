package main

import (
	"fmt"

	"github.com/spf13/pflag"

	"github.com/tulle-mesh/tulle/mesh"
)

// annotationFlags are the flags of inject that become one config.linkerd.io annotation each. whenSet is the value of a
// flag that is given without one; "" asks for a value.
var annotationFlags = []struct{ name, key, usage, whenSet string }{
	{"access-log", "access-log", "one line a request: apache or json", ""},
	{"admin-port", "admin-port", "port of the proxy's metrics and health", ""},
	{"close-wait-timeout", "close-wait-timeout", "", ""},
	{"control-port", "control-port", "port of the proxy's control API", ""},
	{"default-inbound-policy", "default-inbound-policy", "which peers a port accepts unless a policy says otherwise", ""},
	{"enable-debug-sidecar", "enable-debug-sidecar", "", "true"},
	{"enable-external-profiles", "enable-external-profiles", "", "true"},
	{"image-pull-policy", "image-pull-policy", "Always, IfNotPresent or Never", ""},
	{"inbound-port", "inbound-port", "port of the proxy's inbound listener", ""},
	{"native-sidecar", "proxy-enable-native-sidecar", "run the proxy as a native sidecar (the default) or not", "true"},
	{"opaque-ports", "opaque-ports", "ports that carry TCP without protocol detection", ""},
	{"outbound-port", "outbound-port", "port of the proxy's outbound listener", ""},
	{"proxy-cpu-limit", "proxy-cpu-limit", "CPU limit of the proxy", ""},
	{"proxy-cpu-request", "proxy-cpu-request", "CPU request of the proxy", ""},
	{"proxy-gid", "proxy-gid", "group of the proxy", ""},
	{"proxy-image", "proxy-image", "image of the proxy", ""},
	{"proxy-log-level", "proxy-log-level", "log level of the proxy", ""},
	{"proxy-memory-limit", "proxy-memory-limit", "memory limit of the proxy", ""},
	{"proxy-memory-request", "proxy-memory-request", "memory request of the proxy", ""},
	{"proxy-uid", "proxy-uid", "user of the proxy", ""},
	{"proxy-version", "proxy-version", "tag of the proxy's image", ""},
	{"require-identity-on-inbound-ports", "proxy-require-identity-inbound-ports",
		"ports that refuse peers without mesh TLS", ""},
	{"shutdown-grace-period", "shutdown-grace-period", "how long the proxy drains, at most", ""},
	{"skip-inbound-ports", "skip-inbound-ports", "inbound ports that bypass the proxy", ""},
	{"skip-outbound-ports", "skip-outbound-ports", "outbound ports that bypass the proxy", ""},
	{"skip-subnets", "skip-subnets", "networks that bypass the proxy: CIDRs", ""},
	{"wait-before-exit-seconds", "proxy-wait-before-exit-seconds", "how long the proxy waits before it begins to drain",
		""},
}

// registerInjectFlags adds the flags. One without a usage is known for Linkerd's sake: its annotation is written and
// the report says that it has no effect.
func registerInjectFlags(fs *pflag.FlagSet) {
	for _, f := range annotationFlags {
		fs.String(f.name, "", fmt.Sprintf("%s (annotation %s)", f.usage, f.key))
		fs.Lookup(f.name).NoOptDefVal = f.whenSet
		fs.Lookup(f.name).Hidden = f.usage == ""
	}
}

// injectAnnotations returns the annotations that the given flags stand for.
func injectAnnotations(fs *pflag.FlagSet) map[string]string {
	annotations := map[string]string{}
	for _, f := range annotationFlags {
		if flag := fs.Lookup(f.name); flag.Changed {
			annotations[mesh.ConfigPrefix+f.key] = flag.Value.String()
		}
	}
	return annotations
}
