// Package lab is the bench's laboratory: a sandbox of own namespaces, processes that end with it, what they cost (CPU,
// memory, noise), and a certificate authority. It must not import Tulle or know any system under test. The one idea:
// everything runs as a child in a PID namespace of its own, so that an interrupted run leaves nothing behind.
package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// sandboxEnv marks the process that runs inside.
const sandboxEnv = "TULLE_BENCH_SANDBOX"

// Inside says whether this process already runs in the sandbox.
func Inside() bool { return os.Getenv(sandboxEnv) != "" }

// Enter runs this program again inside network, PID and mount namespaces of its own, and waits for it. When ctx ends
// the inner program is interrupted; when it is gone, the kernel ends everything that it started. It needs root.
func Enter(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("enter sandbox: %w", err)
	}
	cmd := exec.CommandContext(ctx, self, os.Args[1:]...)
	cmd.Env = append(os.Environ(), sandboxEnv+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWPID | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL,
		Setpgid: true,
	}
	restore, err := allowCubic()
	if err != nil {
		return err
	}
	defer restore()
	if err := cmd.Run(); err != nil {
		if errors.Is(err, syscall.EPERM) {
			return fmt.Errorf("enter sandbox: %w: network and PID namespaces need root", err)
		}
		return fmt.Errorf("run in sandbox: %w", err)
	}
	return nil
}

// allowCubic lets network namespaces choose cubic while the sandbox lives, where the machine's own list would not.
func allowCubic() (restore func(), err error) {
	const path = "/proc/sys/net/ipv4/tcp_allowed_congestion_control"
	before, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("allow cubic: %w", err)
	}
	list := strings.Fields(string(before))
	if slices.Contains(list, "cubic") {
		return func() {}, nil
	}
	if err := os.WriteFile(path, []byte(strings.Join(append(list, "cubic"), " ")), 0o644); err != nil {
		return nil, fmt.Errorf("allow cubic: %w", err)
	}
	return func() { _ = os.WriteFile(path, before, 0o644) }, nil // a longer list harms nobody
}

// sysctls are the sandbox's own network settings. Cubic, because bbr paces on loopback; ports and TIME_WAIT for the
// churn workloads.
var sysctls = map[string]string{
	"net/ipv4/tcp_congestion_control": "cubic",
	"net/ipv4/ip_local_port_range":    "16384 65535",
	"net/ipv4/tcp_tw_reuse":           "1",
}

// Furnish prepares the sandbox from the inside: its own /proc, the loopback interface, the network settings,
// descriptors enough.
func Furnish() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	if err := loopbackUp(); err != nil {
		return fmt.Errorf("bring loopback up: %w", err)
	}
	for name, value := range sysctls {
		if err := os.WriteFile("/proc/sys/"+name, []byte(value), 0o644); err != nil {
			return fmt.Errorf("set sysctl: %w", err)
		}
	}
	return raiseDescriptors()
}

// raiseDescriptors lets children open as many descriptors as this process may at most.
func raiseDescriptors() error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("read descriptor limit: %w", err)
	}
	limit.Cur = limit.Max
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("raise descriptor limit: %w", err)
	}
	return nil
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, request); err != nil {
		return err
	}
	request.SetUint16(request.Uint16() | unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request)
}
