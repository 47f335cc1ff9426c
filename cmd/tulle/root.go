package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/cli/manifest"
	"github.com/tulle-mesh/tulle/mesh"
)

// streams are where a command reads and writes.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// cli is what all commands share.
type cli struct {
	streams
	flags   globalFlags
	connect connector
}

// globalFlags may stand before or after the verb.
type globalFlags struct {
	controlNamespace string
	namespace        string
	kubeconfig       string
	context          string
	as               string
	asGroups         []string
	apiAddr          string
	verbose          bool
}

// sources reads what the command line names.
func (c *cli) sources() manifest.Sources { return manifest.Sources{Stdin: c.in} }

// connector reaches the cluster that the flags name. It does not send a request yet.
type connector func(globalFlags) (*cluster.Client, error)

func connect(f globalFlags) (*cluster.Client, error) {
	return cluster.Connect(cluster.Config{
		Kubeconfig: f.kubeconfig, Context: f.context, Namespace: f.namespace, User: f.as, Groups: f.asGroups,
		Server:    f.apiAddr,
		UserAgent: "tulle/" + version,
	})
}

// newRoot returns the command tree. It answers to the name tulle, or linkerd when it was called so.
func newRoot(argv0 string, std streams, connect connector) *cobra.Command {
	c := &cli{streams: std, connect: connect}
	root := &cobra.Command{
		Use:   commandName(argv0),
		Short: "A lightweight service mesh for Kubernetes",
		Long: `tulle installs, checks and inspects the Tulle service mesh.

Its verbs, flags and columns are those of linkerd. It can be called linkerd, through a link of that name. An unknown command X runs
the program tulle-X or linkerd-X from PATH.`,
		Example: `  tulle check --pre                       # can Tulle be installed here?
  tulle install | kubectl apply -f -      # install it
  tulle check                             # is it healthy?
  kubectl annotate ns shop linkerd.io/inject=enabled
  kubectl rollout restart -n shop deploy  # every new pod of shop gets its proxy
  tulle -n shop check --proxy`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetIn(std.in)
	root.SetOut(std.out)
	root.SetErr(std.err)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w; see `%s --help`", err, cmd.CommandPath())
	})
	root.SetGlobalNormalizationFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if name == "tulle-namespace" {
			name = "linkerd-namespace"
		}
		return pflag.NormalizedName(name)
	})
	c.flags.register(root.PersistentFlags())
	root.AddCommand(c.installCommand(), c.injectCommand(), c.uninjectCommand(), c.checkCommand(), c.versionCommand())
	root.AddCommand(c.lifecycleCommands()...)
	root.AddCommand(
		c.identityCommand(), c.authzCommand(), c.diagnosticsCommand(), c.convertCommand(),
		c.profileCommand(), c.analyzeCommand(), c.policyCommand(), c.vizCommand())
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	if completion, _, err := root.Find([]string{"completion"}); err == nil {
		completion.Args = noSuchCommand
		completion.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	}
	return root
}

func commandName(argv0 string) string {
	if strings.TrimSuffix(filepath.Base(argv0), ".exe") == "linkerd" {
		return "linkerd"
	}
	return "tulle"
}

func (f *globalFlags) register(fs *pflag.FlagSet) {
	namespace := os.Getenv("LINKERD_NAMESPACE")
	if namespace == "" {
		namespace = mesh.ControlPlaneNamespace
	}
	fs.StringVarP(&f.controlNamespace, "linkerd-namespace", "L", namespace,
		"namespace of the control plane; also --tulle-namespace and the variable LINKERD_NAMESPACE")
	fs.StringVarP(&f.namespace, "namespace", "n", "",
		"namespace of what the command is about (default: that of the kubeconfig's context)")
	fs.StringVar(&f.kubeconfig, "kubeconfig", "", "kubeconfig file (default: $KUBECONFIG, else ~/.kube/config)")
	fs.StringVar(&f.context, "context", "", "context of the kubeconfig")
	fs.StringVar(&f.as, "as", "", "user to impersonate")
	fs.StringArrayVar(&f.asGroups, "as-group", nil, "group to impersonate; may be repeated")
	fs.StringVar(&f.apiAddr, "api-addr", "", "address of the Kubernetes API, instead of the kubeconfig's")
	fs.BoolVar(&f.verbose, "verbose", false, "say on stderr what is being done")
}
