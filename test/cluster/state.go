package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// State is what a cluster's folder records: enough to find its processes again and nothing that they know themselves.
type State struct {
	ID    int         `json:"id"`   // which fabric, see address.go
	IPv6  bool        `json:"ipv6"` // whether pods and Services have IPv6 addresses too
	Built string      `json:"built"`
	Nodes []NodeState `json:"nodes"`
}

// NodeState is a node's supervisor. Start guards against a PID that the kernel gave to another process since.
type NodeState struct {
	Name  string `json:"name"`
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // field 22 of /proc/PID/stat, clock ticks since boot
	Boot  string `json:"boot"`  // /proc/sys/kernel/random/boot_id
}

// Alive reports whether the recorded process still runs.
func (n NodeState) Alive() bool {
	if n.PID == 0 || n.Boot != bootID() {
		return false
	}
	start, err := startTime(n.PID)
	return err == nil && start == n.Start
}

// Kill ends the node: its supervisor is the first process of a PID namespace, so the kernel ends all others in it.
func (n NodeState) Kill() error {
	fd, err := unix.PidfdOpen(n.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open process %d of %s: %w", n.PID, n.Name, err)
	}
	defer func() { _ = unix.Close(fd) }()
	if !n.Alive() { // looked at after the pidfd was opened: it can no longer become another process
		return nil
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("end process %d of %s: %w", n.PID, n.Name, err)
	}
	polls := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		count, err := unix.Poll(polls, 15_000)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return fmt.Errorf("wait for process %d of %s: %w", n.PID, n.Name, err)
		case count == 0:
			return fmt.Errorf("wait for process %d of %s: still there after 15 s", n.PID, n.Name)
		}
		return nil
	}
}

// observe returns the state of a node whose supervisor runs as pid.
func observe(name string, pid int) (NodeState, error) {
	start, err := startTime(pid)
	if err != nil {
		return NodeState{}, fmt.Errorf("observe %s: %w", name, err)
	}
	return NodeState{Name: name, PID: pid, Start: start, Boot: bootID()}, nil
}

func startTime(pid int) (uint64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	return parseStartTime(string(data))
}

// parseStartTime reads field 22 of proc_pid_stat(5). Field 2 may hold spaces and parentheses, so counting begins after
// its last one.
func parseStartTime(stat string) (uint64, error) {
	end := strings.LastIndexByte(stat, ')')
	fields := strings.Fields(stat[end+1:])
	const startTimeField = 22 - 3
	if end < 0 || len(fields) <= startTimeField {
		return 0, fmt.Errorf("process status %q: too few fields", stat)
	}
	if fields[0] == "Z" {
		return 0, fmt.Errorf("process has ended: %w", fs.ErrNotExist)
	}
	return strconv.ParseUint(fields[startTimeField], 10, 64)
}

func bootID() string {
	data, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

// readState returns the recorded state, or nil when there is none.
func readState(file string) (*State, error) {
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read cluster state: %w", err)
	}
	var s State
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, fmt.Errorf("decode cluster state %s: %w", file, err)
	}
	return &s, nil
}

func writeState(file string, s *State) error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("encode cluster state: %w", err)
	}
	if err := writeFile(file, data, 0o644); err != nil {
		return fmt.Errorf("write cluster state: %w", err)
	}
	return nil
}

// writeFile writes a file and the folders above it; a reader sees the old or the new content, never a part.
func writeFile(file string, data []byte, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	tmp := file + ".tmp"
	if err := os.WriteFile(tmp, data, mode); err != nil {
		return err
	}
	return os.Rename(tmp, file)
}
