package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Command describes a program to run.
type Command struct {
	Name string // for logs and errors
	Path string
	Args []string
	Env  []string // added to the environment
	CPUs string   // as taskset reads it; empty: all
	// Idle gives the program only what CPU time nothing else wants (SCHED_IDLE). It is for programs that stand for others
	// on other machines.
	Idle bool
}

func (c Command) build(ctx context.Context) *exec.Cmd {
	path, args := c.Path, c.Args
	if c.Idle {
		path, args = "chrt", append([]string{"--idle", "0", path}, args...)
	}
	if c.CPUs != "" {
		path, args = "taskset", append([]string{"-c", c.CPUs, path}, args...)
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(os.Environ(), c.Env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = 2 * time.Second
	return cmd
}

// String is the command line, for the report.
func (c Command) String() string { return filepath.Base(c.Path) + " " + strings.Join(c.Args, " ") }

// Run runs the command to its end and returns its standard output and the CPU time it used.
func (c Command) Run(ctx context.Context) (out []byte, used time.Duration, err error) {
	cmd := c.build(ctx)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, 0, fmt.Errorf("run %s: %w: %s", c.Name, err, lastLines(stderr.Bytes()))
	}
	return stdout.Bytes(), cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), nil
}

// Process is a program that runs until it is stopped.
type Process struct {
	Name string
	cmd  *exec.Cmd
	log  string
	done chan struct{} // closed when the process ended
}

// Start runs the command in the background; its output goes to a file in dir.
func (c Command) Start(ctx context.Context, dir string) (*Process, error) {
	cmd := c.build(ctx)
	p := &Process{Name: c.Name, cmd: cmd, log: filepath.Join(dir, c.Name+".log"), done: make(chan struct{})}
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Name, err)
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Name, err)
	}
	go func() {
		_ = cmd.Wait() // how it ended matters only while it was needed: Alive says so
		close(p.done)
	}()
	return p, nil
}

// Alive returns nil while the process runs, and the end of its log afterwards.
func (p *Process) Alive() error {
	select {
	case <-p.done:
		text, _ := os.ReadFile(p.log) // an unreadable log only shortens the message
		return fmt.Errorf("%s ended: %s", p.Name, lastLines(text))
	default:
		return nil
	}
}

// Stop ends the process: politely, and after a second by force.
func (p *Process) Stop() {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); errors.Is(err, os.ErrProcessDone) {
		return
	}
	timer := time.NewTimer(time.Second)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
		for _, pid := range p.Tree() {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended in between
		}
		<-p.done
	}
}

// PID is the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

func lastLines(text []byte) string {
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], " | ")
}
