// Package cluster is the Kubernetes API as the commands use it.
//
// It owns how a cluster is reached: its clients, port-forwards to pods, and which pods a resource has. It knows nothing
// of the mesh but the names of its containers and ports. The one idea: a Client is one small value, so that every
// command runs in a test against a fake one.
package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// LookTimeout bounds what commands ask of a cluster that may not be there.
const LookTimeout = 5 * time.Second

// Client is the API of one cluster.
type Client struct {
	kubernetes.Interface
	// Dynamic reads objects of kinds that the cluster may not know.
	Dynamic dynamic.Interface
	// Metadata reads the names of objects of any kind, including custom resources.
	Metadata metadata.Interface
	// DialPod connects to a port of a pod. The connection ends with the context.
	DialPod func(ctx context.Context, namespace, pod string, port int) (net.Conn, error)
	// Post sends JSON to a path of the API and returns the answer's body, which may be endless; it ends with the context.
	// An answer without success is an error with the API's Status.
	Post func(ctx context.Context, path string, body []byte) (io.ReadCloser, error)
	// Namespace is the one that a command is about: of the Config, otherwise of the kubeconfig's context.
	Namespace string
	// Context is the name of the kubeconfig's context; "" if it has none.
	Context string
}

// Config says which cluster to reach, and as whom. The zero value takes all from the kubeconfig.
type Config struct {
	Kubeconfig, Context string
	Namespace           string
	User                string // to impersonate
	Groups              []string
	Server              string // address of the API
	UserAgent           string
}

// requestTimeout bounds one request to the Kubernetes API, so that a dead address is an error and not a wait.
const requestTimeout = 30 * time.Second

// These bound how many requests a client sends a second. The defaults of client-go, 5 and 10, delay a command or a page
// that lists a dozen kinds by seconds. The API server protects itself (API Priority and Fairness).
const (
	requestRate  = 50
	requestBurst = 100
)

// Connect returns a client of the cluster. It does not send a request yet.
func Connect(c Config) (*Client, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = c.Kubeconfig
	overrides := &clientcmd.ConfigOverrides{
		CurrentContext: c.Context,
		AuthInfo:       clientcmdapi.AuthInfo{Impersonate: c.User, ImpersonateGroups: c.Groups},
		ClusterInfo:    clientcmdapi.Cluster{Server: c.Server},
	}
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides)
	config, err := loader.ClientConfig()
	if clientcmd.IsEmptyConfig(err) {
		return nil, errors.New("no kubeconfig found: set KUBECONFIG, or give --kubeconfig")
	}
	if err != nil {
		return nil, fmt.Errorf("load kubeconfig: %w", err)
	}
	config.Timeout = requestTimeout
	config.QPS, config.Burst = requestRate, requestBurst
	config.UserAgent = c.UserAgent
	namespace := c.Namespace
	if namespace == "" {
		if namespace, _, err = loader.Namespace(); err != nil {
			return nil, fmt.Errorf("load kubeconfig: %w", err)
		}
	}
	raw, err := loader.RawConfig()
	if err != nil {
		return nil, fmt.Errorf("load kubeconfig: %w", err)
	}
	cl, err := New(config)
	if err != nil {
		return nil, err
	}
	cl.Namespace, cl.Context = namespace, cmp.Or(c.Context, raw.CurrentContext)
	return cl, nil
}

// New returns a client of the cluster that a configuration reaches, with its credentials. It does not send a request
// yet.
func New(config *rest.Config) (*Client, error) {
	client, err := kubernetes.NewForConfig(inProtobuf(config))
	if err != nil {
		return nil, fmt.Errorf("make a client for %s: %w", config.Host, err)
	}
	config = inJSON(config)
	untyped, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make a client for %s: %w", config.Host, err)
	}
	meta, err := metadata.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make a client for %s: %w", config.Host, err)
	}
	post, err := poster(config)
	if err != nil {
		return nil, err
	}
	return &Client{Interface: client, Dynamic: untyped, Metadata: meta, DialPod: podDialer(client, config),
		Post: post}, nil
}

// inProtobuf returns the config for objects of Kubernetes's own. A list of pods takes a fraction of the time that JSON
// takes.
func inProtobuf(c *rest.Config) *rest.Config {
	c = rest.CopyConfig(c)
	c.AcceptContentTypes = runtime.ContentTypeProtobuf + "," + runtime.ContentTypeJSON
	c.ContentType = runtime.ContentTypeProtobuf
	return c
}

// inJSON returns the config for objects of any kind.
func inJSON(c *rest.Config) *rest.Config {
	c = rest.CopyConfig(c)
	c.AcceptContentTypes, c.ContentType = "", ""
	return c
}

// definitionResource is that of CustomResourceDefinitions.
var definitionResource = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1",
	Resource: "customresourcedefinitions"}

// Definitions returns the metadata of the cluster's CustomResourceDefinitions.
func (cl *Client) Definitions(ctx context.Context) ([]metav1.PartialObjectMetadata, error) {
	list, err := cl.Metadata.Resource(definitionResource).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list custom resource definitions: %w", err)
	}
	return list.Items, nil
}
