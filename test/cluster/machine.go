package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/tulle-mesh/tulle/test/step"
)

// Named lacks of a machine; the error's text says what to do.
var (
	ErrNotRoot      = errors.New("needs root for namespaces, mounts and cgroups: run `sudo -E make cluster`")
	ErrNoCgroups    = errors.New("no cgroup hierarchy is mounted below /sys/fs/cgroup")
	ErrNoNFTables   = errors.New("the kernel has no nf_tables (CONFIG_NF_TABLES), which kube-proxy and the mesh program")
	ErrNoPackages   = errors.New("no apt-get here to install them with; install the programs by hand")
	ErrHiddenFolder = errors.New(
		"a node has a /run, /var/lib and /var/log of its own, so the checkout and the cache cannot be below them")
	errNotInstalled = errors.New("not installed")
)

// debianPackages are what the nodes need and Debian has, by a program that proves the package is there.
var debianPackages = []struct{ name, program string }{
	{"containerd", "containerd"},
	{"runc", "runc"},
	{"etcd-server", "etcd"},
	{"containernetworking-plugins", "/usr/lib/cni/host-local"},
	{"nftables", "nft"},
	{"iptables", "iptables"}, // the portmap plugin
	{"conntrack", "conntrack"},
	{"socat", "socat"},
}

// checkMachine reports what the machine lacks that no package can give.
func checkMachine(folders ...string) error {
	if os.Geteuid() != 0 {
		return ErrNotRoot
	}
	for _, folder := range folders {
		for _, hidden := range []string{"/run/", "/var/run/", "/var/lib/", "/var/log/", "/proc/", "/sys/"} {
			if strings.HasPrefix(folder+"/", hidden) {
				return fmt.Errorf("%s: %w", folder, ErrHiddenFolder)
			}
		}
	}
	if mounts, err := cgroupMounts(); err != nil {
		return err
	} else if len(mounts) == 0 {
		return ErrNoCgroups
	}
	// A socket of the nftables family opens where the subsystem is built in; the kernel loads a module for it otherwise.
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_NETFILTER)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoNFTables, err)
	}
	return unix.Close(fd)
}

// installPackages makes sure that every program of debianPackages is there; it returns the packages that it installed.
func installPackages(ctx context.Context, say func(string, ...any)) ([]string, error) {
	var missing []string
	for _, p := range debianPackages {
		if _, err := findProgram(p.program); err != nil {
			missing = append(missing, p.name)
		}
	}
	if len(missing) == 0 {
		return nil, nil
	}
	apt, err := exec.LookPath("apt-get")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", strings.Join(missing, ", "), ErrNoPackages)
	}
	say("     installing Debian packages: %s", strings.Join(missing, " "))
	if err := step.Run(ctx, "", []string{"DEBIAN_FRONTEND=noninteractive"}, apt, "update", "-qq"); err != nil {
		return nil, err
	}
	args := append([]string{"install", "-y", "-qq", "--no-install-recommends"}, missing...)
	if err := step.Run(ctx, "", []string{"DEBIAN_FRONTEND=noninteractive"}, apt, args...); err != nil {
		return nil, err
	}
	return missing, nil
}

// probe finds out what the node programs have to adapt to. Scratch is a folder on the disk that the nodes will use.
func probe(scratch string) (machine, error) {
	m := machine{networkPlugin: "bridge", pluginFolder: "/usr/lib/cni", snapshotter: "overlayfs"}
	var err error
	if m.containerd, err = findProgram("containerd"); err != nil {
		return m, err
	}
	if m.etcd, err = findProgram("etcd"); err != nil {
		return m, err
	}
	mounts, err := cgroupMounts()
	if err != nil {
		return m, err
	}
	for _, mount := range mounts {
		m.cgroupV1 = m.cgroupV1 || !mount.v2
	}
	if err := tryOverlay(scratch); err != nil {
		m.snapshotter = "native" // copies instead of layers: slow, but works on a disk that is an overlay itself
	}
	if _, err := os.Stat("/proc/sys/net/bridge/bridge-nf-call-iptables"); err != nil {
		m.networkPlugin = "ptp" // replies between pods of a bridge would bypass the translation of Service addresses
	}
	_, err = os.Stat("/proc/sys/net/ipv6")
	m.ipv6 = err == nil
	m.oomRestricted = !hasCapability(unix.CAP_SYS_RESOURCE)
	return m, nil
}

func tryOverlay(scratch string) error {
	dir, err := os.MkdirTemp(scratch, "overlay-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	for _, sub := range []string{"lower", "upper", "work", "merged"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			return err
		}
	}
	options := fmt.Sprintf("lowerdir=%[1]s/lower,upperdir=%[1]s/upper,workdir=%[1]s/work", dir)
	if err := unix.Mount("overlay", filepath.Join(dir, "merged"), "overlay", 0, options); err != nil {
		return err
	}
	return unix.Unmount(filepath.Join(dir, "merged"), 0)
}

func hasCapability(capability int) bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return false
	}
	return data[capability/32].Effective&(1<<(capability%32)) != 0
}

func findProgram(program string) (string, error) {
	if filepath.IsAbs(program) {
		if _, err := os.Stat(program); err != nil {
			return "", fmt.Errorf("%s: %w", program, errNotInstalled)
		}
		return program, nil
	}
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/local/sbin", "/usr/sbin", "/sbin") {
		file := filepath.Join(dir, program)
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return filepath.Abs(file)
		}
	}
	return "", fmt.Errorf("%s: %w", program, errNotInstalled)
}
