package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/tulle-mesh/tulle/test/step"
)

// Cluster is one cluster of a checkout: its folder, and what the folder records.
type Cluster struct {
	files    layout
	root     string // of the checkout
	cache    string
	progress *step.Progress
	lock     *os.File
}

// Open returns the cluster whose folder is data ("" is .cluster of the checkout). Only one process at a time works on a
// checkout's cluster: Open waits for the other.
func Open(data string, out io.Writer) (*Cluster, error) {
	root, err := step.Checkout()
	if err != nil {
		return nil, err
	}
	if data == "" {
		data = filepath.Join(root, ".cluster")
	}
	if data, err = filepath.Abs(data); err != nil {
		return nil, fmt.Errorf("find cluster folder: %w", err)
	}
	cache, err := step.Cache()
	if err != nil {
		return nil, err
	}
	// The folder above is locked, for the folder itself comes and goes.
	lock, err := os.Open(filepath.Dir(data))
	if err != nil {
		return nil, fmt.Errorf("lock cluster: %w", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return nil, fmt.Errorf("lock cluster: %w", err)
	}
	return &Cluster{
		files: layout{data: data, binaries: filepath.Join(cache, "kubernetes-"+kubernetesVersion+"-"+runtime.GOARCH)},
		root:  root, cache: cache, lock: lock,
		progress: step.New(out),
	}, nil
}

// Down ends the cluster and removes all that it made on the machine, except for what the cache keeps.
func (c *Cluster) Down(context.Context) error {
	state, err := readState(c.files.stateFile())
	if err != nil {
		return err
	}
	if state == nil {
		if _, err := os.Stat(c.files.data); err != nil {
			c.progress.Say("no cluster in %s", c.files.data)
			return nil
		}
		state = &State{ID: -1}
	}
	return c.progress.Do("end cluster", func() (string, error) { return "", c.remove(state) })
}

// remove undoes Up, however far it came.
func (c *Cluster) remove(state *State) error {
	for _, node := range state.Nodes {
		if err := node.Kill(); err != nil {
			return err
		}
	}
	if state.ID >= 0 {
		f := fabric{id: state.ID}
		if err := releaseFabric(f); err != nil {
			return err
		}
		if err := removeCgroups(f.cgroup(0)); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(c.files.data); err != nil {
		return fmt.Errorf("remove cluster folder: %w", err)
	}
	return nil
}

// Status prints nodes, their processes and the pods that are not well.
func (c *Cluster) Status(ctx context.Context) error {
	state, err := readState(c.files.stateFile())
	if err != nil {
		return err
	}
	if state == nil {
		c.progress.Say("no cluster in %s", c.files.data)
		return nil
	}
	for _, node := range state.Nodes {
		word := "ended"
		if node.Alive() {
			word = "runs"
		}
		c.progress.Say("%s  supervisor %d %s  zone %s", node.Name, node.PID, word, zone(nodeNumber(node.Name)))
	}
	out, err := c.kubectl(ctx, "", "get", "nodes,pods", "-A", "-o", "wide")
	if err != nil {
		return err
	}
	c.progress.Say("%s", out)
	return nil
}

// Exec runs a command inside a node, with the caller's terminal.
func (c *Cluster) Exec(ctx context.Context, name string, args []string) error {
	state, err := c.running()
	if err != nil {
		return err
	}
	_ = unix.Flock(int(c.lock.Fd()), unix.LOCK_UN) // the command may take as long as it likes
	for _, node := range state.Nodes {
		if node.Name == name {
			cmd := inNode(ctx, node, args...)
			cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
			return cmd.Run()
		}
	}
	return fmt.Errorf("no node %q: the cluster has %s to %s", name, nodeName(1), nodeName(len(state.Nodes)))
}

// running returns the state of a cluster whose nodes all live.
func (c *Cluster) running() (*State, error) {
	state, err := readState(c.files.stateFile())
	if err != nil {
		return nil, err
	}
	if state == nil || !state.alive() {
		return nil, fmt.Errorf("no cluster runs in %s: start it with `make cluster`", c.files.data)
	}
	return state, nil
}

func (s *State) alive() bool {
	for _, node := range s.Nodes {
		if !node.Alive() {
			return false
		}
	}
	return len(s.Nodes) > 0
}

// inNode prepares a command in all namespaces of a node.
func inNode(ctx context.Context, node NodeState, args ...string) *exec.Cmd {
	enter := []string{"--target", strconv.Itoa(node.PID), "--mount", "--uts", "--ipc", "--net", "--pid", "--"}
	return exec.CommandContext(ctx, "nsenter", append(enter, args...)...)
}

// kubectl runs the cluster's own kubectl as administrator and returns what it printed.
func (c *Cluster) kubectl(ctx context.Context, stdin string, args ...string) (string, error) {
	return kubectl(ctx, c.files, stdin, args...)
}
