// Package explain answers as the destination controller does, from one reading of a cluster.
//
// It owns how a cluster is loaded: into controller/model for what proxies receive, and as plain objects for
// cli/analyze. It decides nothing itself. The one idea: the controller's own code runs here, so that an answer needs no
// controller, and a difference to what a proxy does shows that the proxy's information is old.
package explain

import (
	"context"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/cli/installation"
	"github.com/tulle-mesh/tulle/controller/kube"
	"github.com/tulle-mesh/tulle/controller/model"
	"github.com/tulle-mesh/tulle/mesh"
)

// Model answers as the destination controller does, from one reading of the cluster.
type Model struct {
	store    *model.Store
	snapshot *model.Snapshot
	domain   string
	services []corev1.Service
	slices   []discoveryv1.EndpointSlice
	client   mesh.Client
}

// Load reads the cluster, and the installation whose control plane is in a namespace.
func Load(ctx context.Context, cl *cluster.Client, control string) (*Model, error) {
	config, err := installation.Config(ctx, cl, control)
	if apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("there is no installation in namespace %s; -L names another, `tulle install` makes one",
			control)
	}
	if err != nil {
		return nil, fmt.Errorf("read the installation's values: %w", err)
	}
	v, err := installation.Values(config)
	if err != nil {
		return nil, err
	}
	opaque, err := mesh.ParsePortSet(v.Proxy.OpaquePorts, nil)
	if err != nil {
		return nil, fmt.Errorf("read the installation's values: %w", err)
	}
	networks, err := installation.Networks(v)
	if err != nil {
		return nil, err
	}
	m := &Model{domain: v.ClusterDomain, store: model.New(model.Config{
		TrustDomain: v.TrustDomain(), ClusterDomain: v.ClusterDomain, ControlPlaneNamespace: control,
		ClusterNetworks: networks,
		DefaultPolicy:   v.Proxy.DefaultInboundPolicy, DefaultOpaquePorts: opaque,
	})}
	if err := m.load(ctx, cl); err != nil {
		return nil, err
	}
	configuration, err := kube.ReadConfiguration(ctx, cl.Dynamic)
	if err != nil {
		return nil, fmt.Errorf("read the cluster: %w", err)
	}
	for _, e := range configuration {
		m.store.Apply(e)
	}
	m.snapshot = model.Build(m.store)
	return m, nil
}

// load applies every object that answers are made of.
func (m *Model) load(ctx context.Context, cl *cluster.Client) error {
	all := metav1.ListOptions{}
	nodes, errNodes := cl.CoreV1().Nodes().List(ctx, all)
	namespaces, errNamespaces := cl.CoreV1().Namespaces().List(ctx, all)
	services, errServices := cl.CoreV1().Services(metav1.NamespaceAll).List(ctx, all)
	endpoints, errSlices := cl.DiscoveryV1().EndpointSlices(metav1.NamespaceAll).List(ctx, all)
	pods, errPods := cl.CoreV1().Pods(metav1.NamespaceAll).List(ctx, all)
	if err := errors.Join(errNodes, errNamespaces, errServices, errSlices, errPods); err != nil {
		return fmt.Errorf("read the cluster: %w", err)
	}
	m.services, m.slices = services.Items, endpoints.Items
	for i := range nodes.Items {
		m.store.Apply(model.Event{Object: &nodes.Items[i]})
	}
	for i := range namespaces.Items {
		m.store.Apply(model.Event{Object: &namespaces.Items[i]})
	}
	for i := range services.Items {
		m.store.Apply(model.Event{Object: &services.Items[i]})
	}
	for i := range endpoints.Items {
		m.store.Apply(model.Event{Object: &endpoints.Items[i]})
	}
	for i := range pods.Items {
		m.store.Apply(model.Event{Object: &pods.Items[i]})
	}
	return nil
}

// AskAs makes a pod, namespace/name, the one who asks; "" is a pod without a place.
func (m *Model) AskAs(from string) error {
	if from == "" {
		return nil
	}
	namespace, pod, ok := strings.Cut(from, "/")
	if !ok {
		return fmt.Errorf("--from %q: want namespace/pod", from)
	}
	node, _, ok := m.store.Where(types.NamespacedName{Namespace: namespace, Name: pod})
	if !ok {
		return fmt.Errorf("--from %q: no such pod runs", from)
	}
	m.client = mesh.Client{Namespace: namespace, Pod: pod, Node: node}
	return nil
}
