package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"

	"github.com/tulle-mesh/tulle/injector"
	"github.com/tulle-mesh/tulle/internal/daemon"
	"github.com/tulle-mesh/tulle/mesh"
)

// injectorFlags are the flags of the proxy-injector. The trust domain of injected proxies comes with the other values,
// from configFile; the flag is there because every component has it.
type injectorFlags struct {
	commonFlags

	configFile string
}

// injectorLinger outlasts the time in which a Service forgets a replica that ends.
const injectorLinger = 5 * time.Second

func injectorCommand() *cobra.Command {
	var f injectorFlags
	cmd := &cobra.Command{
		Use:   "proxy-injector",
		Short: "Answer the API server's reviews of new pods: put a proxy into those that asked for one",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return daemon.Run(f.daemon("proxy-injector"), f.run)
		},
	}
	f.bind(cmd, mesh.InjectorPort, mesh.InjectorAdminPort)
	cmd.Flags().StringVar(&f.configFile, "config-file", "",
		"YAML with the defaults of injected proxies; read again when it changes")
	return cmd
}

// run connects to the API server and runs the webhook until ctx ends.
func (f *injectorFlags) run(ctx context.Context, env *daemon.Env) error {
	config, err := f.kubernetes("proxy-injector", env)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("make Kubernetes client: %w", err)
	}
	meta, err := metadata.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("make metadata client: %w", err)
	}
	dyn, err := dynamic.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("make dynamic client: %w", err)
	}
	lis, err := net.Listen("tcp", f.addr)
	if err != nil {
		return fmt.Errorf("listen for reviews: %w", err)
	}
	server, err := injector.New(injector.Config{
		Listener: lis, Namespace: f.namespace, ConfigFile: f.configFile, Linger: injectorLinger, Client: client,
		Metadata: meta, Dynamic: dyn,
		Log: env.Log, Registry: env.Registry, Readiness: env.Ready,
	})
	if err != nil {
		return errors.Join(err, lis.Close())
	}
	env.Log.Info("serving", zap.Stringer("addr", lis.Addr()), zap.String("configFile", f.configFile))
	return server.Run(ctx)
}
