package main

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/tulle-mesh/tulle/controller/kube"
	"github.com/tulle-mesh/tulle/internal/daemon"
	"github.com/tulle-mesh/tulle/mesh"
)

// commonFlags are the flags that every component has.
type commonFlags struct {
	addr        string
	adminAddr   string
	namespace   string
	trustDomain string
	logLevel    string
	logFormat   string
	kubeconfig  string
}

// bind adds the flags to cmd; the ports are those that the component serves by default.
func (f *commonFlags) bind(cmd *cobra.Command, port, adminPort int) {
	flags := cmd.Flags()
	flags.StringVar(&f.addr, "addr", ":"+strconv.Itoa(port), "address to serve on")
	flags.StringVar(&f.adminAddr, "admin-addr", ":"+strconv.Itoa(adminPort), "address of /metrics, /ready and /live")
	flags.StringVar(&f.namespace, "controller-namespace", mesh.ControlPlaneNamespace, "namespace of the control plane")
	flags.StringVar(&f.trustDomain, "trust-domain", mesh.DefaultTrustDomain, "trust domain of the mesh's identities")
	flags.StringVar(&f.logLevel, "log-level", "info", "debug, info, warn or error")
	flags.StringVar(&f.logFormat, "log-format", "plain", "plain or json")
	flags.StringVar(&f.kubeconfig, "kubeconfig", "", "kubeconfig file to use outside of a cluster")
}

func (f *commonFlags) daemon(name string) daemon.Config {
	return daemon.Config{Name: name, AdminAddr: f.adminAddr, LogLevel: f.logLevel, LogFormat: f.logFormat}
}

// kubernetes returns how to reach the API server: the kubeconfig file if one is given, else the pod's own
// ServiceAccount. The client's own rate limit is off: the API server's priority and fairness knows better. Objects come
// as protobuf where the API server has it, which costs half of JSON's memory and time. Failures move a counter of the
// registry, and what the client logs goes to the log.
func (f *commonFlags) kubernetes(component string, env *daemon.Env) (*rest.Config, error) {
	logClient(env.Log.Named("kube"))
	load := rest.InClusterConfig
	if f.kubeconfig != "" {
		load = func() (*rest.Config, error) { return clientcmd.BuildConfigFromFlags("", f.kubeconfig) }
	}
	cfg, err := load()
	if err != nil {
		return nil, fmt.Errorf("reach the API server: %w", err)
	}
	cfg.UserAgent = "tulle-controller/" + version + " " + component
	cfg.QPS = -1
	cfg.ContentType = runtime.ContentTypeProtobuf
	cfg.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	cfg.Wrap(kube.CountFailures(env.Registry))
	return cfg, nil
}
