package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/kubernetes"

	"github.com/tulle-mesh/tulle/identity"
	"github.com/tulle-mesh/tulle/identity/ca"
	"github.com/tulle-mesh/tulle/internal/daemon"
	"github.com/tulle-mesh/tulle/mesh"
)

// defaultSkew is Linkerd's.
const defaultSkew = 20 * time.Second

type identityFlags struct {
	commonFlags

	profile       ca.Profile
	external      bool
	externalRoots bool
}

func identityCommand() *cobra.Command {
	var f identityFlags
	cmd := &cobra.Command{
		Use:   "identity",
		Short: "Issue the certificates of workloads and hand out the trust anchors",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return daemon.Run(f.daemon("identity"), f.run)
		},
	}
	f.bind(cmd, mesh.IdentityPort, mesh.IdentityAdminPort)
	flags := cmd.Flags()
	flags.DurationVar(&f.profile.Lifetime, "issuance-lifetime", ca.MaxLifetime,
		fmt.Sprintf("life of a certificate, %v to %v", ca.MinLifetime, ca.MaxLifetime))
	flags.DurationVar(&f.profile.Skew, "clock-skew-allowance", defaultSkew,
		"how far a certificate is backdated for clocks that are late")
	flags.BoolVar(&f.external, "external-issuer", false,
		"somebody else (cert-manager, say) writes the Secret "+mesh.IssuerSecret+"; only follow it")
	flags.BoolVar(&f.externalRoots, "external-trust-roots", false,
		"somebody else (trust-manager, say) writes the ConfigMap "+mesh.TrustRootsConfigMap+
			" of the control plane's namespace; only copy it")
	return cmd
}

func (f *identityFlags) run(ctx context.Context, env *daemon.Env) error {
	ready := env.Ready.Task("issuer")
	restConfig, err := f.kubernetes("identity", env)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(restConfig)
	if err != nil {
		return fmt.Errorf("make Kubernetes client: %w", err)
	}
	replica, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("name the replica: %w", err)
	}
	lis, err := net.Listen("tcp", f.addr)
	if err != nil {
		return fmt.Errorf("listen for certify requests: %w", err)
	}
	controller, err := identity.New(identity.Config{
		Client: client, Listener: lis,
		Namespace: f.namespace, Replica: replica, TrustDomain: f.trustDomain,
		Profile: f.profile, ExternalIssuer: f.external, ExternalRoots: f.externalRoots,
		Limits: identity.DefaultLimits(), Log: env.Log, Registry: env.Registry,
	})
	if err != nil {
		return errors.Join(err, lis.Close())
	}
	env.Log.Info("serving", zap.Stringer("addr", lis.Addr()), zap.String("trustDomain", f.trustDomain),
		zap.Duration("lifetime", f.profile.Lifetime), zap.Duration("skew", f.profile.Skew),
		zap.Bool("externalIssuer", f.external), zap.Bool("externalTrustRoots", f.externalRoots))
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return controller.Run(ctx) })
	group.Go(func() error {
		select {
		case <-controller.Ready():
			ready()
		case <-ctx.Done():
		}
		return nil
	})
	return group.Wait()
}
