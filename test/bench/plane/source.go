package main

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"github.com/tulle-mesh/tulle/controller/discovery"
	"github.com/tulle-mesh/tulle/internal/latest"
	"github.com/tulle-mesh/tulle/mesh"
)

// cluster is a discovery.Source that knows one Service and one pod that asks, in place of a Kubernetes and its
// controller.
type cluster struct {
	pod     mesh.Client
	account string
	service netip.AddrPort
	inbound latest.Cell[*discovery.Value]
	value   latest.Cell[*discovery.Value] // of the Service
	unknown latest.Cell[*discovery.Value] // of any other address

	mu     sync.Mutex // guards crowd and made
	crowd  crowd
	made   int                // changes so far
	pacing chan time.Duration // the time between two changes; 0 for none
}

func newCluster(client, server mesh.ID, service netip.AddrPort, port uint16) *cluster {
	c := &cluster{
		pod: mesh.Client{Namespace: client.Namespace, Pod: client.ServiceAccount}, account: client.ServiceAccount,
		service: service, crowd: crowd{port: port, identity: server}, pacing: make(chan time.Duration),
	}
	c.inbound.Store(&discovery.Value{Inbound: &mesh.Inbound{Default: mesh.PortPolicy{Policy: mesh.AllAuthenticated}}})
	c.unknown.Store(&discovery.Value{Outbound: &mesh.Outbound{Kind: mesh.Unknown}})
	return c
}

// Identify implements discovery.Source.
func (c *cluster) Identify(_ context.Context, namespace, pod string) (node, serviceAccount string, err error) {
	if namespace != c.pod.Namespace || pod != c.pod.Pod {
		return "", "", fmt.Errorf("identify %s/%s: %w", namespace, pod, discovery.ErrUnknownPod)
	}
	return c.pod.Node, c.account, nil
}

// Watch implements discovery.Source.
func (c *cluster) Watch(_ context.Context, _ mesh.Client, t mesh.Target) (*latest.Cell[*discovery.Value], func(),
	error) {
	cell := &c.unknown
	switch {
	case t.IsInbound():
		cell = &c.inbound
	case t.Addr == c.service:
		cell = &c.value
	}
	return cell, func() {}, nil
}

// resize makes the Service have n endpoints.
func (c *cluster) resize(n int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.crowd.resize(n); err != nil {
		return err
	}
	c.publish()
	return nil
}

func (c *cluster) change() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.crowd.change()
	c.made++
	c.publish()
}

func (c *cluster) changes() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.made
}

// publish makes the present endpoints known. The caller holds mu.
func (c *cluster) publish() {
	c.value.Store(&discovery.Value{Outbound: &mesh.Outbound{
		Kind: mesh.ToService, Service: mesh.ServiceRef{Namespace: c.pod.Namespace, Name: "app", Port: c.service.Port()},
		Authority: fmt.Sprintf("app.%s.svc.%s:%d", c.pod.Namespace, mesh.DefaultClusterDomain, c.service.Port()),
		Endpoints: c.crowd.list,
	}})
}

// pace makes n changes a second from now on; 0 makes none.
func (c *cluster) pace(ctx context.Context, n int) error {
	var every time.Duration
	if n > 0 {
		every = time.Second / time.Duration(n)
	}
	select {
	case c.pacing <- every:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run makes changes until ctx ends.
func (c *cluster) run(ctx context.Context) error {
	ticker := time.NewTicker(time.Hour)
	defer ticker.Stop()
	ticker.Stop() // until pace
	for {
		select {
		case <-ctx.Done():
			return nil
		case every := <-c.pacing:
			if ticker.Stop(); every > 0 {
				ticker.Reset(every)
			}
		case <-ticker.C:
			c.change()
		}
	}
}
