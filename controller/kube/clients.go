package kube

import (
	"fmt"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
)

// Clients are the ways to talk to the API server: about kinds that every cluster has, about any kind, and about names
// alone.
type Clients struct {
	Kubernetes kubernetes.Interface
	Dynamic    dynamic.Interface
	Metadata   metadata.Interface
}

// NewClients returns clients of the API server that c reaches.
func NewClients(c *rest.Config) (Clients, error) {
	var out Clients
	var err error
	if out.Kubernetes, err = kubernetes.NewForConfig(c); err != nil {
		return Clients{}, fmt.Errorf("make Kubernetes client: %w", err)
	}
	if out.Dynamic, err = dynamic.NewForConfig(c); err != nil {
		return Clients{}, fmt.Errorf("make dynamic client: %w", err)
	}
	if out.Metadata, err = metadata.NewForConfig(c); err != nil {
		return Clients{}, fmt.Errorf("make metadata client: %w", err)
	}
	return out, nil
}
