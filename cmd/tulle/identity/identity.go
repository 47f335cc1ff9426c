// Package identity holds the flags and the printing of `tulle identity ...`, one command a file.
//
// It owns what a person types and reads. Packages of /cli do the work. The one idea: it needs little of the program, so
// it takes that as an Env.
package identity

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"

	"github.com/tulle-mesh/tulle/cli/certificate"
	"github.com/tulle-mesh/tulle/cli/cluster"
)

// Env is what the program provides to the commands. Its fields must be set.
type Env struct {
	Out io.Writer
	// Connect returns a client of the cluster that the flags name. It sends no request.
	Connect func() (*cluster.Client, error)
	// ControlNamespace returns the namespace of the control plane that the flags name.
	ControlNamespace func() string
}

// New returns the command identity.
func New(env Env) *cobra.Command {
	var selector string
	cmd := &cobra.Command{
		Use:   "identity [flags] [KIND/NAME | POD]",
		Short: "Print the certificates that proxies present",
		Long: `identity connects to the proxy of each pod through a port-forward and prints the certificate that it presents. identity does not
verify the certificate: it shows what a peer would see. A name without a kind is a pod.`,
		Example: `  tulle identity -n shop web-5d8f7c-x2x7q
  tulle identity -n shop deploy/web
  tulle identity -n shop -l app=web`,
		Args: cobra.MaximumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) == 0 && selector == "":
				return errors.New("name a pod, or a resource that has pods such as deploy/web, or give a selector with -l")
			case len(args) > 0 && selector != "":
				return errors.New("name a resource, or give a selector with -l, not both")
			}
			return env.identity(cmd.Context(), args, selector)
		},
	}
	cmd.AddCommand(env.rotateCommand(), env.revokeCommand())
	cmd.Flags().StringVarP(&selector, "selector", "l", "", "label selector of the pods")
	return cmd
}

func (e Env) identity(ctx context.Context, args []string, selector string) error {
	kind, name := "pod", ""
	if len(args) == 1 && !strings.Contains(args[0], "/") {
		name = args[0]
	} else if len(args) > 0 {
		var err error
		if kind, name, err = cluster.ParseResource(args); err != nil {
			return err
		}
	}
	cl, err := e.Connect()
	if err != nil {
		return err
	}
	var pods []corev1.Pod
	if selector == "" {
		pods, err = cluster.PodsOf(ctx, cl, kind, name)
	} else {
		pods, err = cluster.PodsSelected(ctx, cl, selector)
	}
	if err != nil && len(args) == 1 && args[0] == name {
		return fmt.Errorf("%w; a workload needs its kind, such as deploy/%s", err, name)
	}
	if err != nil {
		return err
	}
	var errs []error
	for i := range pods {
		fmt.Fprintf(e.Out, "\nPOD %s (%d of %d)\n\n", pods[i].Name, i+1, len(pods))
		certs, err := certificate.Presented(ctx, cl, &pods[i])
		if err != nil {
			fmt.Fprintf(e.Out, "ERROR %v\n", err)
			errs = append(errs, fmt.Errorf("pod %s/%s: %w", pods[i].Namespace, pods[i].Name, err))
			continue
		}
		certificate.Write(e.Out, certs[0])
	}
	return errors.Join(errs...)
}
