package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
)

// machine is what the node programs have to adapt to on this computer.
type machine struct {
	cgroupV1      bool
	oomRestricted bool   // no CAP_SYS_RESOURCE: oom_score_adj cannot be lowered
	snapshotter   string // overlayfs or native
	networkPlugin string // bridge, or ptp where the kernel cannot pass bridged packets through netfilter
	ipv6          bool
	pluginFolder  string // of the CNI plugins
	etcd          string
	containerd    string
}

// layout names the files of a cluster. All paths are absolute.
type layout struct {
	data     string // the folder that down removes
	binaries string // kube-apiserver, …
}

func (l layout) pki(name string) string { return filepath.Join(l.data, "pki", name) }
func (l layout) config(parts ...string) string {
	return filepath.Join(append([]string{l.data, "config"}, parts...)...)
}
func (l layout) lib(n int) string                  { return filepath.Join(l.data, "nodes", nodeName(n), "lib") }
func (l layout) logs(n int) string                 { return filepath.Join(l.data, "logs", nodeName(n)) }
func (l layout) kubeconfig() string                { return filepath.Join(l.data, "kubeconfig") }
func (l layout) stateFile() string                 { return filepath.Join(l.data, "state.json") }
func (l layout) userConfig(user string) string     { return l.config(user + ".kubeconfig") }
func (l layout) binary(name string) string         { return filepath.Join(l.binaries, name) }
func (l layout) nodeConfig(n int, f string) string { return l.config(nodeName(n), f) }

const (
	runtimeSocket = "/run/containerd/containerd.sock"
	etcdAddr      = "127.0.0.1:2379"
	pauseImage    = "docker.io/tulle-mesh/pause:1"
)

// nodeSpec is everything that runs on node n. Node 1 has the control plane too.
func nodeSpec(l layout, m machine, f fabric, n int) NodeSpec {
	spec := NodeSpec{
		Hostname: nodeName(n), Lib: l.lib(n), Logs: l.logs(n),
		Sysctls: map[string]string{
			"net/ipv4/ip_forward": "1",
			// bbr paces, also between two ends of one machine. Where the host's list does not allow cubic, bbr stays.
			"-net/ipv4/tcp_congestion_control":           "cubic",
			"-net/bridge/bridge-nf-call-iptables":        "1",
			"-net/bridge/bridge-nf-call-ip6tables":       "1",
			"-net/ipv6/conf/all/forwarding":              "1",
			"-net/ipv6/conf/default/accept_dad":          "0", // a pod's address serves at once
			"-net/netfilter/nf_conntrack_tcp_be_liberal": "1",
		},
	}
	if n == 1 {
		spec.Processes = append(spec.Processes, controlPlane(l, m, f)...)
	}
	api := fmt.Sprintf("%s:%d", f.addr4(1).Addr(), apiPort)
	spec.Processes = append(spec.Processes,
		Process{Name: "containerd", Args: []string{m.containerd, "--config", l.nodeConfig(n, "containerd.toml")}},
		Process{Name: "kubelet", After: runtimeSocket, Args: kubelet(l, m, f, n)},
		Process{Name: "kube-proxy", After: api, Args: []string{l.binary("kube-proxy"),
			"--config=" + l.nodeConfig(n, "kube-proxy.json"), "--hostname-override=" + nodeName(n)}},
	)
	return spec
}

func controlPlane(l layout, m machine, f fabric) []Process {
	etcdDir := "/var/lib/etcd"
	apiAddr := fmt.Sprintf("127.0.0.1:%d", apiPort)
	return []Process{
		{Name: "etcd", Args: []string{m.etcd, "--data-dir=" + etcdDir, "--unsafe-no-fsync", "--log-level=warn",
			"--listen-client-urls=http://" + etcdAddr, "--advertise-client-urls=http://" + etcdAddr,
			"--listen-peer-urls=http://127.0.0.1:2380", "--quota-backend-bytes=2147483648", "--auto-compaction-retention=1h"}},
		{Name: "kube-apiserver", After: etcdAddr, Args: apiServer(l, m, f)},
		{Name: "kube-controller-manager", After: apiAddr, Args: []string{l.binary("kube-controller-manager"),
			"--kubeconfig=" + l.userConfig("controller-manager"), "--use-service-account-credentials",
			"--service-account-private-key-file=" + l.pki("service-accounts.key"), "--root-ca-file=" + l.pki("ca.crt"),
			"--cluster-signing-cert-file=" + l.pki("ca.crt"), "--cluster-signing-key-file=" + l.pki("ca.key"),
			"--authentication-kubeconfig=" + l.userConfig("controller-manager"),
			"--authorization-kubeconfig=" + l.userConfig("controller-manager"),
			"--node-monitor-grace-period=20s", "--bind-address=127.0.0.1", "--leader-elect=false"}},
		{Name: "kube-scheduler", After: apiAddr, Args: []string{l.binary("kube-scheduler"),
			"--kubeconfig=" + l.userConfig("scheduler"), "--authentication-kubeconfig=" + l.userConfig("scheduler"),
			"--authorization-kubeconfig=" + l.userConfig("scheduler"), "--bind-address=127.0.0.1", "--leader-elect=false"}},
	}
}

func apiServer(l layout, m machine, f fabric) []string {
	return []string{l.binary("kube-apiserver"),
		"--advertise-address=" + f.addr4(1).Addr().String(), fmt.Sprintf("--secure-port=%d", apiPort),
		"--etcd-servers=http://" + etcdAddr, "--service-cluster-ip-range=" + ranges(m.ipv6, serviceRange4, serviceRange6),
		"--tls-cert-file=" + l.pki("apiserver.crt"), "--tls-private-key-file=" + l.pki("apiserver.key"),
		"--client-ca-file=" + l.pki("ca.crt"),
		"--kubelet-certificate-authority=" + l.pki("ca.crt"),
		"--kubelet-client-certificate=" + l.pki("apiserver-kubelet.crt"), "--kubelet-client-key=" +
			l.pki("apiserver-kubelet.key"),
		"--kubelet-preferred-address-types=InternalIP",
		"--service-account-issuer=https://kubernetes.default.svc." + clusterDomain,
		"--service-account-signing-key-file=" + l.pki("service-accounts.key"),
		"--service-account-key-file=" + l.pki("service-accounts.pub"),
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--allow-privileged",
		// Aggregated APIs: who they may believe about the caller, and the way to their pods.
		"--requestheader-client-ca-file=" + l.pki("front-proxy-ca.crt"), "--requestheader-allowed-names=front-proxy-client",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-", "--requestheader-group-headers=X-Remote-Group",
		"--requestheader-username-headers=X-Remote-User",
		"--proxy-client-cert-file=" + l.pki("front-proxy-client.crt"), "--proxy-client-key-file=" +
			l.pki("front-proxy-client.key"),
		"--enable-aggregator-routing",
	}
}

func kubelet(l layout, m machine, f fabric, n int) []string {
	address := f.addr4(n).Addr().String()
	if m.ipv6 {
		address += "," + f.addr6(n).Addr().String()
	}
	return []string{l.binary("kubelet"), "--config=" + l.nodeConfig(n, "kubelet.json"),
		"--kubeconfig=" + l.userConfig(nodeName(n)), "--hostname-override=" + nodeName(n), "--node-ip=" + address,
		"--node-labels=topology.kubernetes.io/region=local,topology.kubernetes.io/zone=" + zone(n)}
}

// nodeFiles are the configuration files of node n by name.
func nodeFiles(l layout, m machine, f fabric, n int) (map[string][]byte, error) {
	files := map[string][]byte{
		"containerd.toml": []byte(containerdConfig(m)),
		"resolv.conf":     {}, // no name server: there is nowhere to ask
	}
	values := map[string]any{
		"kubelet.json":    kubeletConfig(l, m, f, n),
		"kube-proxy.json": kubeProxyConfig(l, m),
		"cni.conflist":    networkConfig(m, n),
	}
	for name, value := range values {
		data, err := json.MarshalIndent(value, "", "  ")
		if err != nil {
			return nil, fmt.Errorf("encode %s: %w", name, err)
		}
		files[name] = data
	}
	return files, nil
}

type object = map[string]any

func kubeletConfig(l layout, m machine, f fabric, n int) object {
	config := object{
		"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
		"authentication": object{
			"anonymous": object{"enabled": false}, "webhook": object{"enabled": true},
			"x509": object{"clientCAFile": l.pki("ca.crt")},
		},
		"authorization":            object{"mode": "Webhook"},
		"tlsCertFile":              l.pki(nodeName(n) + ".crt"),
		"tlsPrivateKeyFile":        l.pki(nodeName(n) + ".key"),
		"containerRuntimeEndpoint": "unix://" + runtimeSocket,
		"cgroupDriver":             "cgroupfs", "cgroupRoot": f.cgroup(n), "enforceNodeAllocatable": []string{},
		"clusterDNS": []string{dnsService}, "clusterDomain": clusterDomain, "resolvConf": l.nodeConfig(n, "resolv.conf"),
		"failSwapOn": false, "localStorageCapacityIsolation": false, "oomScoreAdj": 0,
		"makeIPTablesUtilChains": false, "serializeImagePulls": false, "imageGCHighThresholdPercent": 100,
		"evictionHard": object{"memory.available": "50Mi", "nodefs.available": "0%", "imagefs.available": "0%",
			"nodefs.inodesFree": "0%"},
	}
	if m.cgroupV1 {
		config["failCgroupV1"] = false
	}
	return config
}

func kubeProxyConfig(l layout, m machine) object {
	return object{
		"apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration",
		"clientConnection": object{"kubeconfig": l.userConfig("kube-proxy")},
		"mode":             "nftables", "clusterCIDR": ranges(m.ipv6, podRange4, podRange6),
		"metricsBindAddress": "127.0.0.1:10249", "oomScoreAdj": 0,
		// The table's size belongs to the host and cannot be set from a namespace.
		"conntrack": object{"maxPerCore": 0, "min": 0},
	}
}

func networkConfig(m machine, n int) object {
	pools := [][]object{{{"subnet": pods4(n).String()}}}
	routes := []object{{"dst": "0.0.0.0/0"}}
	if m.ipv6 {
		pools = append(pools, []object{{"subnet": pods6(n).String()}})
		routes = append(routes, object{"dst": "::/0"})
	}
	plugin := object{
		"type": m.networkPlugin,
		"ipam": object{"type": "host-local", "ranges": pools, "routes": routes},
	}
	if m.networkPlugin == "bridge" {
		plugin["bridge"], plugin["isGateway"], plugin["hairpinMode"] = "pods", true, true
	}
	return object{
		"cniVersion": "1.0.0", "name": "pods",
		"plugins": []object{plugin, {"type": "portmap", "capabilities": object{"portMappings": true}}},
	}
}

func containerdConfig(m machine) string {
	return fmt.Sprintf(`version = 2
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs", "io.containerd.internal.v1.opt"]

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = %q
  restrict_oom_score_adj = %t
  disable_apparmor = true
  tolerate_missing_hugetlb_controller = true
  disable_hugetlb_controller = true

[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = %q
  conf_dir = "/var/lib/cni/net.d"

[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = %q

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
    SystemdCgroup = false
`, pauseImage, m.oomRestricted, m.pluginFolder, m.snapshotter)
}

func ranges(ipv6 bool, four, six string) string {
	if !ipv6 {
		return four
	}
	return strings.Join([]string{four, six}, ",")
}

// kubeconfigFor is the client configuration of a certificate in the cluster's pki folder.
func kubeconfigFor(server string, ca, cert, key []byte) ([]byte, error) {
	return json.MarshalIndent(object{
		"apiVersion": "v1", "kind": "Config", "current-context": "tulle",
		"clusters": []object{{"name": "tulle", "cluster": object{"server": server, "certificate-authority-data": ca}}},
		"users":    []object{{"name": "tulle", "user": object{"client-certificate-data": cert, "client-key-data": key}}},
		"contexts": []object{{"name": "tulle", "context": object{"cluster": "tulle", "user": "tulle"}}},
	}, "", "  ")
}
