package proxy

import (
	"fmt"
	"net"
	"net/netip"
	"strings"

	"go.uber.org/zap"

	"github.com/tulle-mesh/tulle/identity/workload"
	"github.com/tulle-mesh/tulle/mesh"
)

// Config is what a proxy is made from. Parse it with mesh.ParseProxyConfig and ParsePod, or with ParseLocal.
type Config struct {
	Settings mesh.ProxyConfig
	Pod      Pod
	// Local, when set, replaces the control plane and the redirected listeners.
	Local *Local
	// Certs, when set, is the pod's identity; nil gets one from Settings.IdentityAddr.
	Certs *workload.Manager
	// OrigDst, when set, returns the original destination of an accepted connection; nil asks the kernel, which redirected
	// it.
	OrigDst func(*net.TCPConn) (netip.AddrPort, error)
	Version string
	// Log and AccessLog must not block: requests are logged while the engine's loop lock is held.
	Log *zap.Logger
	// Level is the level of Log, which the admin server can change.
	Level zap.AtomicLevel
	// AccessLog receives the lines of the access log; nil writes none.
	AccessLog Writer
	// LostLines, when set, returns how many lines of both logs were lost.
	LostLines func() uint64
}

// Writer is where the access log goes; a line is one Write.
type Writer interface {
	Write(line []byte) (int, error)
}

// Pod says where the proxy runs.
type Pod struct {
	Name, Namespace, Node, ServiceAccount string
	// IPs are the pod's addresses, HostIPs the node's, where kubelet probes come from, with those of Gateways. Both are
	// unmapped.
	IPs, HostIPs []netip.Addr
}

// ParsePod reads the variables of mesh.PodEnv and the ones beside it.
func ParsePod(getenv func(string) string) (Pod, error) {
	pod := Pod{
		Name:           getenv(mesh.PodEnv),
		Namespace:      getenv(mesh.NamespaceEnv),
		Node:           getenv(mesh.NodeEnv),
		ServiceAccount: getenv(mesh.ServiceAccountEnv),
	}
	for name, value := range map[string]string{
		mesh.PodEnv: pod.Name, mesh.NamespaceEnv: pod.Namespace, mesh.ServiceAccountEnv: pod.ServiceAccount,
	} {
		if value == "" {
			return Pod{}, fmt.Errorf("parse %s: is missing", name)
		}
	}
	var err error
	if pod.IPs, err = parseAddrs(getenv(mesh.PodIPsEnv)); err != nil {
		return Pod{}, fmt.Errorf("parse %s: %w", mesh.PodIPsEnv, err)
	}
	if pod.HostIPs, err = parseAddrs(getenv(mesh.HostIPsEnv)); err != nil {
		return Pod{}, fmt.Errorf("parse %s: %w", mesh.HostIPsEnv, err)
	}
	return pod, nil
}

func parseAddrs(list string) ([]netip.Addr, error) {
	var out []netip.Addr
	for part := range strings.SplitSeq(list, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		a, err := netip.ParseAddr(part)
		if err != nil {
			return nil, err
		}
		out = append(out, a.Unmap())
	}
	return out, nil
}
