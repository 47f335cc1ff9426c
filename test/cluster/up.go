package main

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tulle-mesh/tulle/test/step"
)

//go:embed manifests/*.yaml
var manifests embed.FS

// Up makes sure that a cluster of at least nodes nodes runs (0: as many as there were, else one). A cluster that runs
// whole gets the nodes that it lacks; one that was hurt, by a crash or a reboot, is replaced by a new one.
func (c *Cluster) Up(ctx context.Context, nodes int) error {
	if nodes < 0 || nodes > maxNodes {
		return fmt.Errorf("--nodes %d: want 1 to %d", nodes, maxNodes)
	}
	var m machine
	steps := []struct {
		name string
		do   func() (string, error)
	}{
		{"check machine", func() (string, error) { return "", checkMachine(c.files.data, c.cache) }},
		{"Debian packages", func() (string, error) {
			installed, err := installPackages(ctx, c.progress.Say)
			return strings.Join(installed, " "), err
		}},
		{"Kubernetes " + kubernetesVersion + " programs", func() (string, error) { return c.files.binaries, c.build(ctx) }},
		{"probe kernel", func() (string, error) {
			if err := os.MkdirAll(c.files.data, 0o755); err != nil {
				return "", err
			}
			var err error
			m, err = probe(c.files.data)
			return fmt.Sprintf("%s, %s, IPv6 %t, cgroup v1 %t", m.snapshotter, m.networkPlugin, m.ipv6, m.cgroupV1), err
		}},
	}
	for _, s := range steps {
		if err := c.progress.Do(s.name, s.do); err != nil {
			return err
		}
	}
	state, before, err := c.resume()
	if err != nil {
		return err
	}
	if nodes == 0 {
		nodes = max(before, 1)
	}
	if err := c.addNodes(ctx, state, m, nodes); err != nil {
		return err
	}
	if err := c.waitUntilUsable(ctx, state, m); err != nil {
		return err
	}
	c.progress.Say("cluster of %d node(s) is up after %s:\n  export KUBECONFIG=%s PATH=%s:$PATH",
		len(state.Nodes), c.progress.Since(), c.files.kubeconfig(), filepath.Join(c.files.data, "bin"))
	return nil
}

func (c *Cluster) build(ctx context.Context) error {
	modules := filepath.Join(c.root, "test", "cluster", "modules")
	_, err := buildKubernetes(ctx, modules, c.cache, func(program string, build func() error) error {
		return c.progress.Do("compile "+program, func() (string, error) { return "", build() })
	})
	return err
}

// resume returns the state of the running cluster, or a blank one after clearing away what a dead one left, and how
// many nodes it had.
func (c *Cluster) resume() (state *State, nodes int, err error) {
	state, err = readState(c.files.stateFile())
	if err != nil {
		return nil, 0, err
	}
	if state != nil && state.alive() {
		return state, len(state.Nodes), nil
	}
	if state != nil {
		nodes = len(state.Nodes)
		err := c.progress.Do("clear away the cluster that ended", func() (string, error) { return "", c.remove(state) })
		if err != nil {
			return nil, 0, err
		}
	}
	return &State{ID: -1, Built: kubernetesVersion}, nodes, nil
}

// addNodes starts nodes until there are count.
func (c *Cluster) addNodes(ctx context.Context, state *State, m machine, count int) error {
	for n := len(state.Nodes) + 1; n <= count; n++ {
		err := c.progress.Do("start "+nodeName(n), func() (string, error) {
			return zone(n), c.startNode(ctx, state, m, n)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// startNode records the node as soon as its first process exists, so that whatever happens next, down finds it.
func (c *Cluster) startNode(ctx context.Context, state *State, m machine, n int) error {
	for _, dir := range []string{c.files.logs(n), filepath.Join(c.files.lib(n), "cni", "net.d")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("create node folder: %w", err)
		}
	}
	pid, send, err := startSupervisor(filepath.Join(c.files.logs(n), "supervisor.log"))
	if err != nil {
		return err
	}
	node, err := observe(nodeName(n), pid)
	if err != nil {
		return err
	}
	state.Nodes = append(state.Nodes, node)
	state.IPv6 = m.ipv6
	if err := writeState(c.files.stateFile(), state); err != nil {
		return err
	}
	if n == 1 {
		f, err := claimFabric(pid)
		if err != nil {
			return err
		}
		state.ID = f.id
		if err := writeState(c.files.stateFile(), state); err != nil {
			return err
		}
		if err := c.writeCredentials(f); err != nil {
			return err
		}
		if err := connectHost(f, m.ipv6); err != nil {
			return err
		}
	}
	return c.furnishNode(state, m, n, send)
}

// furnishNode wires a node whose supervisor waits, and tells it to go on.
func (c *Cluster) furnishNode(state *State, m machine, n int, send *os.File) error {
	defer func() { _ = send.Close() }()
	f := fabric{id: state.ID}
	if err := makeCgroups(f.cgroup(n)); err != nil {
		return err
	}
	files, err := nodeFiles(c.files, m, f, n)
	if err != nil {
		return err
	}
	for name, data := range files {
		file := c.files.nodeConfig(n, name)
		if name == "cni.conflist" {
			file = filepath.Join(c.files.lib(n), "cni", "net.d", "10-pods.conflist")
		}
		if err := writeFile(file, data, 0o644); err != nil {
			return fmt.Errorf("write %s: %w", file, err)
		}
	}
	pids := make([]int, len(state.Nodes))
	for i, node := range state.Nodes {
		pids[i] = node.PID
	}
	if err := connectNode(f, n, pids, m.ipv6); err != nil {
		return err
	}
	if err := routeFromOthers(f, n, pids, m.ipv6); err != nil {
		return err
	}
	if err := json.NewEncoder(send).Encode(nodeSpec(c.files, m, f, n)); err != nil {
		return fmt.Errorf("send node specification: %w", err)
	}
	return nil
}

// startSupervisor starts this program again as the first process of a node. It waits for its specification on the
// returned pipe.
func startSupervisor(logFile string) (pid int, send *os.File, err error) {
	self, err := os.Executable()
	if err != nil {
		return 0, nil, fmt.Errorf("find own program: %w", err)
	}
	log, err := os.OpenFile(logFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return 0, nil, fmt.Errorf("open supervisor log: %w", err)
	}
	defer func() { _ = log.Close() }()
	receive, send, err := os.Pipe()
	if err != nil {
		return 0, nil, fmt.Errorf("open pipe: %w", err)
	}
	defer func() { _ = receive.Close() }()
	cmd := exec.Command(self, superviseVerb)
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.Dir = receive, log, log, "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setsid: true,
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET | syscall.CLONE_NEWUTS |
			syscall.CLONE_NEWIPC,
	}
	if err := closeOnExec(); err != nil {
		_ = send.Close()
		return 0, nil, err
	}
	if err := cmd.Start(); err != nil {
		_ = send.Close()
		return 0, nil, fmt.Errorf("start supervisor: %w", err)
	}
	pid = cmd.Process.Pid
	return pid, send, cmd.Process.Release()
}

// closeOnExec keeps what this process inherited from its children. They outlive the caller, whose locks they would
// hold.
func closeOnExec() error {
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return fmt.Errorf("list open descriptors: %w", err)
	}
	for _, entry := range open {
		if fd, err := strconv.Atoi(entry.Name()); err == nil && fd > 2 {
			unix.CloseOnExec(fd)
		}
	}
	return nil
}

// writeCredentials makes the certificates and client configurations of the whole cluster.
func (c *Cluster) writeCredentials(f fabric) error {
	dir := filepath.Join(c.files.data, "pki")
	if err := issueAll(dir, f, time.Now()); err != nil {
		return err
	}
	ca, err := os.ReadFile(c.files.pki("ca.crt"))
	if err != nil {
		return fmt.Errorf("read authority: %w", err)
	}
	configs := map[string]string{"admin": c.files.kubeconfig()}
	for _, user := range []string{"controller-manager", "scheduler", "kube-proxy"} {
		configs[user] = c.files.userConfig(user)
	}
	for n := 1; n <= maxNodes; n++ {
		configs[nodeName(n)] = c.files.userConfig(nodeName(n))
	}
	for user, file := range configs {
		cert, err := os.ReadFile(c.files.pki(user + ".crt"))
		if err != nil {
			return fmt.Errorf("read certificate of %s: %w", user, err)
		}
		key, err := os.ReadFile(c.files.pki(user + ".key"))
		if err != nil {
			return fmt.Errorf("read key of %s: %w", user, err)
		}
		data, err := kubeconfigFor(f.apiURL(), ca, cert, key)
		if err != nil {
			return fmt.Errorf("encode kubeconfig of %s: %w", user, err)
		}
		if err := writeFile(file, data, 0o600); err != nil {
			return fmt.Errorf("write kubeconfig of %s: %w", user, err)
		}
	}
	return linkKubectl(c.files)
}

func linkKubectl(l layout) error {
	dir := filepath.Join(l.data, "bin")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("link kubectl: %w", err)
	}
	if err := os.Symlink(l.binary("kubectl"), filepath.Join(dir, "kubectl")); err != nil {
		return fmt.Errorf("link kubectl: %w", err)
	}
	return nil
}

// waitUntilUsable waits until the cluster is of use: nodes ready, system images loaded, names resolved.
func (c *Cluster) waitUntilUsable(ctx context.Context, state *State, m machine) error {
	steps := []struct {
		name string
		do   func() error
	}{
		{"API server", func() error {
			return step.Eventually(ctx, 90*time.Second, func() error {
				_, err := c.kubectl(ctx, "", "get", "--raw", "/readyz")
				return err
			})
		}},
		{"system images", func() error { return c.loadSystemImages(ctx, state) }},
		{"nodes ready", func() error { return c.awaitNodes(ctx, state, m) }},
		{"CoreDNS", func() error { return c.applySystem(ctx) }},
	}
	for _, s := range steps {
		if err := c.progress.Do(s.name, func() (string, error) { return "", s.do() }); err != nil {
			return fmt.Errorf("%w\nlogs are in %s%s", err, filepath.Join(c.files.data, "logs"), c.deaths())
		}
	}
	return nil
}

// deaths tells which processes of node 1 have ended lately, which is the usual reason when the cluster does not
// become usable.
func (c *Cluster) deaths() string {
	data, err := os.ReadFile(filepath.Join(c.files.logs(1), "supervisor.log"))
	if err != nil || len(data) == 0 {
		return ""
	}
	return ":\n" + step.Tail(string(data), 5)
}

// loadSystemImages imports pause and CoreDNS where a node does not have them yet.
func (c *Cluster) loadSystemImages(ctx context.Context, state *State) error {
	for _, image := range systemImages(c.root) {
		archive, err := image.Archive(ctx, c.cache)
		if err != nil {
			return err
		}
		// containerd answers a moment after the node has started.
		err = step.Eventually(ctx, 60*time.Second, func() error {
			_, err := loadAll(ctx, state.Nodes, archive)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// awaitNodes waits for the nodes and writes down which pod addresses each has; no controller allocates them here.
func (c *Cluster) awaitNodes(ctx context.Context, state *State, m machine) error {
	for _, node := range state.Nodes {
		n := nodeNumber(node.Name)
		ranges := []string{pods4(n).String()}
		if m.ipv6 {
			ranges = append(ranges, pods6(n).String())
		}
		patch, err := json.Marshal(object{"spec": object{"podCIDR": ranges[0], "podCIDRs": ranges}})
		if err != nil {
			return fmt.Errorf("encode pod ranges: %w", err)
		}
		err = step.Eventually(ctx, 60*time.Second, func() error {
			_, err := c.kubectl(ctx, "", "patch", "node", node.Name, "--patch", string(patch))
			return err
		})
		if err != nil {
			return err
		}
	}
	_, err := c.kubectl(ctx, "", "wait", "--for=condition=Ready", "node", "--all", "--timeout=90s")
	return err
}

func (c *Cluster) applySystem(ctx context.Context) error {
	manifest, err := manifests.ReadFile("manifests/coredns.yaml")
	if err != nil {
		return fmt.Errorf("read manifest: %w", err)
	}
	if _, err := c.kubectl(ctx, string(manifest), "apply", "-f", "-"); err != nil {
		return err
	}
	_, err = c.kubectl(ctx, "", "-n", "kube-system", "rollout", "status", "deployment/coredns", "--timeout=90s")
	return err
}

func nodeNumber(name string) int {
	n, err := strconv.Atoi(strings.TrimPrefix(name, "node-"))
	if err != nil {
		return 0
	}
	return n
}
