package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// cluster is the Kubernetes API as the commands use it.
type cluster struct {
	kubernetes.Interface
	// dynamic reads objects of kinds that the cluster may not know.
	dynamic dynamic.Interface
	// metadata reads what objects of any kind are called, custom resources among them.
	metadata metadata.Interface
	// dialPod connects to a port of a pod; the connection ends with the context.
	dialPod func(ctx context.Context, namespace, pod string, port int) (net.Conn, error)
	// namespace is that of -n, else of the kubeconfig's context.
	namespace string
}

// connector reaches the cluster that the flags name. It does not send a request yet.
type connector func(globalFlags) (*cluster, error)

// requestTimeout bounds one request to the Kubernetes API, so that a dead address is an error and not a wait.
const requestTimeout = 30 * time.Second

func connect(f globalFlags) (*cluster, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = f.kubeconfig
	overrides := &clientcmd.ConfigOverrides{
		CurrentContext: f.context,
		AuthInfo:       clientcmdapi.AuthInfo{Impersonate: f.as, ImpersonateGroups: f.asGroups},
		ClusterInfo:    clientcmdapi.Cluster{Server: f.apiAddr},
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
	config.UserAgent = "tulle/" + version
	namespace := f.namespace
	if namespace == "" {
		if namespace, _, err = loader.Namespace(); err != nil {
			return nil, fmt.Errorf("load kubeconfig: %w", err)
		}
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make a client for %s: %w", config.Host, err)
	}
	untyped, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make a client for %s: %w", config.Host, err)
	}
	meta, err := metadata.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make a client for %s: %w", config.Host, err)
	}
	return &cluster{Interface: client, dynamic: untyped, metadata: meta, dialPod: podDialer(client, config), namespace: namespace}, nil
}

// definitionResource is that of CustomResourceDefinitions.
var definitionResource = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}

// definitions returns the metadata of the cluster's CustomResourceDefinitions.
func (cl *cluster) definitions(ctx context.Context) ([]metav1.PartialObjectMetadata, error) {
	list, err := cl.metadata.Resource(definitionResource).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("list custom resource definitions: %w", err)
	}
	return list.Items, nil
}
