package main

import (
	"context"
	"os/exec"
	"strings"

	"github.com/tulle-mesh/tulle/test/step"
)

// kubectl runs the cluster's own kubectl as administrator and returns what it printed.
func kubectl(ctx context.Context, l layout, stdin string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, l.binary("kubectl"), append([]string{"--kubeconfig", l.kubeconfig()}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	return step.Collect(cmd)
}
