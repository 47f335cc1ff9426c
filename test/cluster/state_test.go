package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseStartTime(t *testing.T) {
	rest := " S 1 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 9 0 4242 1000 1"
	for _, tc := range []struct {
		name, stat string
		want       uint64
		fails      bool
	}{
		{name: "plain command", stat: "7 (kubelet)" + rest, want: 4242},
		{name: "command with spaces and parentheses", stat: "7 (a) (b) c)" + rest, want: 4242},
		{name: "zombie has ended", stat: "7 (kubelet)" + strings.Replace(rest, " S ", " Z ", 1), fails: true},
		{name: "cut short", stat: "7 (kubelet) S 1", fails: true},
		{name: "empty", stat: "", fails: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := parseStartTime(tc.stat)
			if (err != nil) != tc.fails || got != tc.want {
				t.Errorf("got %d, %v, want %d, failure %t", got, err, tc.want, tc.fails)
			}
		})
	}
}

func TestKillEndsTheRecordedProcessAndNoOther(t *testing.T) {
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Skip(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	node, err := observe("node-1", cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}

	reused := node
	reused.Start++ // the PID now belongs to a process that started later
	if reused.Alive() {
		t.Error("a process with another start time counts as the recorded one")
	}
	if err := reused.Kill(); err != nil {
		t.Fatal(err)
	}
	if !node.Alive() {
		t.Fatal("Kill ended a process that is not the recorded one")
	}

	if err := node.Kill(); err != nil {
		t.Fatal(err)
	}
	<-ended
	if node.Alive() {
		t.Error("the process is alive after Kill")
	}
	if err := node.Kill(); err != nil {
		t.Errorf("second Kill: %v", err)
	}
}

func TestStateSurvivesTheFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "new", "state.json")
	if got, err := readState(file); got != nil || err != nil {
		t.Errorf("missing file: got %v, %v, want nothing", got, err)
	}
	want := &State{ID: 3, IPv6: true, Built: "v1", Nodes: []NodeState{{Name: "node-1", PID: 7, Start: 8, Boot: "b"}}}
	if err := writeState(file, want); err != nil {
		t.Fatal(err)
	}
	got, err := readState(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if err := os.WriteFile(file, []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := readState(file); err == nil {
		t.Error("half a state was read")
	}
}
