package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// cgroupMount is a mounted hierarchy: one of version 1 for a few controllers, or the one of version 2.
type cgroupMount struct {
	path string
	v2   bool
}

func cgroupMounts() ([]cgroupMount, error) {
	file, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("read mounts: %w", err)
	}
	defer func() { _ = file.Close() }()
	var mounts []cgroupMount
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		if m, ok := parseCgroupMount(lines.Text()); ok {
			mounts = append(mounts, m)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read mounts: %w", err)
	}
	return mounts, nil
}

// parseCgroupMount reads a line of proc_pid_mountinfo(5): the mount point is field 5, the type follows the separator
// "-".
func parseCgroupMount(line string) (cgroupMount, bool) {
	before, after, ok := strings.Cut(line, " - ")
	fields, kind := strings.Fields(before), strings.Fields(after)
	if !ok || len(fields) < 5 || len(kind) == 0 || !strings.HasPrefix(fields[4], "/sys/fs/cgroup") {
		return cgroupMount{}, false
	}
	return cgroupMount{path: fields[4], v2: kind[0] == "cgroup2"}, kind[0] == "cgroup" || kind[0] == "cgroup2"
}

// makeCgroups creates the folder name, which may have parents, in every hierarchy: the kubelet wants its root to exist.
func makeCgroups(name string) error {
	mounts, err := cgroupMounts()
	if err != nil {
		return err
	}
	for _, mount := range mounts {
		dir := mount.path
		for _, part := range strings.Split(strings.Trim(name, "/"), "/") {
			if mount.v2 {
				if err := delegate(dir); err != nil {
					return err
				}
			}
			parent := dir
			dir = filepath.Join(dir, part)
			if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
				return fmt.Errorf("create cgroup: %w", err)
			}
			if err := inheritCPUs(parent, dir); err != nil {
				return err
			}
		}
		if mount.v2 {
			if err := delegate(dir); err != nil {
				return err
			}
		}
	}
	return nil
}

// delegate lets the children of a version 2 cgroup use all controllers that it has.
func delegate(dir string) error {
	controllers, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return fmt.Errorf("read controllers of cgroup: %w", err)
	}
	for _, c := range strings.Fields(string(controllers)) {
		file := filepath.Join(dir, "cgroup.subtree_control")
		if err := os.WriteFile(file, []byte("+"+c), 0o644); err != nil {
			return fmt.Errorf("enable controller %s in %s: %w", c, dir, err)
		}
	}
	return nil
}

// inheritCPUs fills the cpuset of a new version 1 cgroup, which starts without any CPU and so accepts no process.
func inheritCPUs(parent, dir string) error {
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		value, err := os.ReadFile(filepath.Join(parent, file))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read cpuset of cgroup: %w", err)
		}
		if len(strings.TrimSpace(string(value))) == 0 {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, file), value, 0o644); err != nil {
			return fmt.Errorf("set cpuset of cgroup: %w", err)
		}
	}
	return nil
}

// removeCgroups removes a folder and all below it in every hierarchy. Its processes are dead or dying; the last of them
// may take a moment to be gone.
func removeCgroups(name string) error {
	mounts, err := cgroupMounts()
	if err != nil {
		return err
	}
	deadline := time.Now().Add(10 * time.Second)
	for _, mount := range mounts {
		for {
			err := removeTree(filepath.Join(mount.path, name))
			if err == nil {
				break
			}
			if !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
				return fmt.Errorf("remove cgroup: %w", err)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	return nil
}

// removeTree removes folders from the innermost out; the files in them are the kernel's.
func removeTree(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeTree(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	if err := unix.Rmdir(dir); err != nil && !errors.Is(err, unix.ENOENT) {
		return &os.PathError{Op: "rmdir", Path: dir, Err: err}
	}
	return nil
}
