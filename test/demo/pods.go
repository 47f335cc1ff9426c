package main

import (
	"context"
	"encoding/json"
	"fmt"
)

// pod is the part of a pod that the demo looks at.
type pod struct {
	Metadata struct {
		Name              string
		Labels            map[string]string
		DeletionTimestamp string
	}
	Spec struct {
		InitContainers, Containers []struct{ Name, Image string }
	}
	Status struct{ Phase string }
}

// proxy is the image of the pod's proxy, "" without one.
func (p pod) proxy() string {
	for _, c := range append(p.Spec.InitContainers, p.Spec.Containers...) {
		if c.Name == "tulle-proxy" {
			return c.Image
		}
	}
	return ""
}

// workload is the name that the shop's manifests give to all pods of one kind.
func (p pod) workload() string { return p.Metadata.Labels["app"] }

// pods returns the shop's pods that run and are to stay.
func (d *demo) pods(ctx context.Context) ([]pod, error) {
	out, err := d.kubectl(ctx, "", "-n", namespace, "get", "pods", "-o", "json")
	if err != nil {
		return nil, err
	}
	var list struct{ Items []pod }
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		return nil, fmt.Errorf("decode pods: %w", err)
	}
	var live []pod
	for _, p := range list.Items {
		if p.Status.Phase == "Running" && p.Metadata.DeletionTimestamp == "" {
			live = append(live, p)
		}
	}
	return live, nil
}
