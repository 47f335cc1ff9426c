// Package explain answers as the destination controller does, from one reading of a cluster.
//
// It owns how a cluster is loaded: into controller/model for what proxies receive, and as plain objects for
// cli/analyze. It decides nothing itself. The one idea: the controller's own code runs here, so that an answer needs no
// controller, and a difference to what a proxy does shows that the proxy's information is old.
package explain

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
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
	config, events, err := Read(ctx, cl, control)
	if err != nil {
		return nil, err
	}
	return New(config, events), nil
}

// New returns a Model of the objects of a cluster.
func New(config model.Config, events []model.Event) *Model {
	m := &Model{domain: config.ClusterDomain, store: model.New(config)}
	for _, e := range events {
		m.store.Apply(e)
		switch o := e.Object.(type) {
		case *corev1.Service:
			m.services = append(m.services, *o)
		case *discoveryv1.EndpointSlice:
			m.slices = append(m.slices, *o)
		}
	}
	m.snapshot = model.BuildSnapshot(m.store)
	return m
}

// Read reads what a model of the cluster needs: the values of the installation whose control plane is in a namespace,
// and the objects.
func Read(ctx context.Context, cl *cluster.Client, control string) (model.Config, []model.Event, error) {
	none := model.Config{}
	config, err := installation.Config(ctx, cl, control)
	if apierrors.IsNotFound(err) {
		return none, nil, fmt.Errorf("there is no installation in namespace %s; -L names another, `tulle install` makes one",
			control)
	}
	if err != nil {
		return none, nil, fmt.Errorf("read the installation's values: %w", err)
	}
	settings, err := Settings(config, control)
	if err != nil {
		return none, nil, err
	}
	events, err := kube.Read(ctx, kube.Clients{Kubernetes: cl.Interface, Dynamic: cl.Dynamic, Metadata: cl.Metadata})
	if err != nil {
		return none, nil, fmt.Errorf("read the cluster: %w", err)
	}
	return settings, events, nil
}

// Settings returns what a model needs of the values of an installation, whose control plane is in a namespace.
func Settings(config *corev1.ConfigMap, control string) (model.Config, error) {
	v, err := installation.Values(config)
	if err != nil {
		return model.Config{}, err
	}
	opaque, err := mesh.ParsePortSet(v.Proxy.OpaquePorts, nil)
	if err != nil {
		return model.Config{}, fmt.Errorf("read the installation's values: %w", err)
	}
	networks, err := v.Networks()
	if err != nil {
		return model.Config{}, fmt.Errorf("read the installation's values: %w", err)
	}
	return model.Config{
		TrustDomain: v.TrustDomain(), ClusterDomain: v.ClusterDomain, ControlPlaneNamespace: control,
		ClusterNetworks: networks,
		DefaultPolicy:   v.Proxy.DefaultInboundPolicy, DefaultOpaquePorts: opaque,
	}, nil
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
