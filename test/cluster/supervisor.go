package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const superviseVerb = "supervise"

// NodeSpec is what up sends to a supervisor once its namespaces are wired.
type NodeSpec struct {
	Hostname string `json:"hostname"`
	Lib      string `json:"lib"`  // becomes /var/lib in the node
	Logs     string `json:"logs"` // becomes /var/log in the node; one file a process
	// name -> value; a missing one is an error unless the name begins with "-"
	Sysctls   map[string]string `json:"sysctls"`
	Processes []Process         `json:"processes"`
}

// Process is a program that the supervisor keeps running.
type Process struct {
	Name string   `json:"name"`
	Args []string `json:"args"` // argv, the first an absolute path
	// host:port or socket path that must accept connections before the first start; "" is at once
	After string `json:"after"`
}

// supervise is the first process of a node: it mounts what is the node's own, then starts its processes and starts them
// again when they end. It never returns while the node lives; ending it ends every process of the PID namespace.
func supervise(ctx context.Context, in io.Reader) error {
	var spec NodeSpec
	if err := json.NewDecoder(in).Decode(&spec); err != nil {
		return fmt.Errorf("read node specification: %w", err)
	}
	if err := furnish(spec); err != nil {
		return err
	}
	s := &supervisor{logs: "/var/log", started: make(map[int]Process), due: make(chan Process, len(spec.Processes))}
	for _, p := range spec.Processes {
		go s.queue(ctx, p, 0)
	}
	return s.run(ctx)
}

// furnish gives the node its own /proc, /run, /var/lib and /var/log. Programs find their usual places, and nothing that
// they leave there outlives the mount namespace.
func furnish(spec NodeSpec) error {
	mounts := []struct {
		source, target, kind string
		flags                uintptr
	}{
		{"", "/", "", unix.MS_PRIVATE | unix.MS_REC},
		{"proc", "/proc", "proc", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
		{"tmpfs", "/run", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV},
		{spec.Logs, "/var/log", "", unix.MS_BIND},
		{spec.Lib, "/var/lib", "", unix.MS_BIND},
		{"", "/", "", unix.MS_SHARED | unix.MS_REC}, // kubelet and containerd pass mounts on to containers
	}
	for _, m := range mounts {
		if err := unix.Mount(m.source, m.target, m.kind, m.flags, ""); err != nil {
			return fmt.Errorf("mount %s%s: %w", m.source, m.target, err)
		}
	}
	if err := unix.Sethostname([]byte(spec.Hostname)); err != nil {
		return fmt.Errorf("set host name: %w", err)
	}
	for name, value := range spec.Sysctls {
		optional := strings.HasPrefix(name, "-")
		file := filepath.Join("/proc/sys", strings.TrimPrefix(name, "-"))
		if err := os.WriteFile(file, []byte(value), 0o644); err != nil && !optional {
			return fmt.Errorf("set %s to %s: %w", file, value, err)
		}
	}
	return nil
}

// supervisor starts and reaps. Only its run loop touches started, so a process cannot end before it is known.
type supervisor struct {
	logs    string
	started map[int]Process
	due     chan Process // processes to start now; holds every process, so no sender waits
}

// run starts what is due and reaps what has ended, also orphans of containers: this is PID 1 to them.
func (s *supervisor) run(ctx context.Context) error {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case p := <-s.due:
			if err := s.start(p); err != nil {
				fmt.Fprintf(os.Stderr, "start %s: %v\n", p.Name, err)
				go s.queue(ctx, p, time.Second)
			}
		case <-tick.C:
			s.reap(ctx)
		}
	}
}

func (s *supervisor) reap(ctx context.Context) {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, unix.WNOHANG, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		p, ours := s.started[pid]
		if !ours {
			continue
		}
		delete(s.started, pid)
		fmt.Fprintf(os.Stderr, "%s %s ended: exit %d, signal %d\n",
			time.Now().Format(time.RFC3339), p.Name, status.ExitStatus(), status.Signal())
		go s.queue(ctx, p, time.Second)
	}
}

// queue makes p due after a delay and once what it needs answers.
func (s *supervisor) queue(ctx context.Context, p Process, delay time.Duration) {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		if answers(p.After) {
			s.due <- p
			return
		}
		timer.Reset(100 * time.Millisecond)
	}
}

func answers(address string) bool {
	if address == "" {
		return true
	}
	network := "tcp"
	if strings.HasPrefix(address, "/") {
		network = "unix"
	}
	conn, err := net.DialTimeout(network, address, time.Second)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

// start runs a process without os/exec, whose Wait would race with reap.
func (s *supervisor) start(p Process) error {
	log, err := os.OpenFile(filepath.Join(s.logs, p.Name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer func() { _ = null.Close() }()
	proc, err := os.StartProcess(p.Args[0], p.Args, &os.ProcAttr{
		Dir: "/", Env: []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "GOGC=75"},
		Files: []*os.File{null, log, log},
	})
	if err != nil {
		return err
	}
	s.started[proc.Pid] = p
	return proc.Release()
}
