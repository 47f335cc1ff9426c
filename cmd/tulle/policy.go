package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"github.com/tulle-mesh/tulle/api"
	"github.com/tulle-mesh/tulle/cli/cluster"
	"github.com/tulle-mesh/tulle/cli/explain"
	"github.com/tulle-mesh/tulle/mesh"
)

func (c *cli) policyOfCommand() *cobra.Command {
	var output, from string
	cmd := &cobra.Command{
		Use:   "policy KIND/NAME PORT",
		Short: "Print the policy of a port as a proxy receives it",
		Long: `policy prints what proxies receive about a port, as messages of the discovery API. For a port of a Service, that is what the clients'
proxies receive: endpoints, routes, retries and timeouts. For a port of a workload, it is what the workload's own proxies receive:
Server, authorizations and rate limit. Pods of a workload may differ: policy prints the first by name; pod/NAME chooses another.

policy reads the cluster and runs the controller's code, as diagnostics endpoints does.`,
		Example: `  tulle diagnostics policy -n shop svc/web 80
  tulle diagnostics policy -n shop --from shop/cart-7d9c-x2x7q -o json svc/web 80
  tulle diagnostics policy -n shop deploy/web 8080`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 2 || len(args) > 3 {
				return errors.New("name a resource and a port, such as deploy/web 8080")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.policy(cmd.Context(), args[:len(args)-1], args[len(args)-1], from, output)
		},
	}
	outputFlag(cmd, &output, "yaml", "json")
	cmd.Flags().StringVar(&from, "from", "",
		"namespace/pod whose proxy asks about a Service; its namespace, zone and node may matter")
	return cmd
}

func (c *cli) policy(ctx context.Context, resource []string, portText, from, output string) error {
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil || port == 0 {
		return fmt.Errorf("port %q: want 1 to 65535", portText)
	}
	kind, name, err := cluster.ParseResource(resource)
	if err != nil {
		return err
	}
	var message proto.Message
	if kind == "service" {
		message, err = c.outboundPolicy(ctx, name, uint16(port), from)
	} else {
		message, err = c.inboundPolicy(ctx, resource, uint16(port))
	}
	if err != nil {
		return err
	}
	return c.printMessage(message, output)
}

// outboundPolicy returns what clients' proxies receive about a port of a Service.
func (c *cli) outboundPolicy(ctx context.Context, name string, port uint16, from string) (proto.Message, error) {
	m, cl, err := c.modelAs(ctx, from)
	if err != nil {
		return nil, err
	}
	out, err := m.Outbound(net.JoinHostPort(name+"."+cl.Namespace, strconv.Itoa(int(port))))
	if err != nil {
		return nil, fmt.Errorf("svc/%s: %w", name, err)
	}
	return api.EncodeOutbound(out), nil
}

// inboundPolicy returns what the proxy of a workload's first pod receives about a port.
func (c *cli) inboundPolicy(ctx context.Context, resource []string, port uint16) (proto.Message, error) {
	m, pods, err := c.podsAndModel(ctx, resource)
	if err != nil {
		return nil, err
	}
	pod := &pods[0]
	if len(pods) > 1 {
		fmt.Fprintf(c.err, "The first of %d pods: %s\n", len(pods), pod.Name)
	}
	in := m.Inbound(pod)
	if in == nil {
		return nil, fmt.Errorf("pod %s is not known", pod.Name)
	}
	// The port alone, with everything that the pod says about it put together.
	one := &mesh.Inbound{Ports: map[uint16]mesh.PortPolicy{port: in.Port(port)}}
	return api.EncodeInbound(one).GetPorts()[uint32(port)], nil
}

func (c *cli) profileOfCommand() *cobra.Command {
	var from string
	cmd := &cobra.Command{
		Use:   "profile AUTHORITY",
		Short: "Print the profile of a Service as a proxy receives it",
		Long: `profile prints, as JSON, what a proxy receives about requests to an authority: its ServiceProfile, routes, request policy and circuit
breaker, without the endpoints. A profile in the client's namespace wins over that in the Service's: use --from to ask as a client.`,
		Example: `  tulle diagnostics profile web.shop.svc.cluster.local:80
  tulle diagnostics profile --from bank/api-7d9c-x2x7q web.shop:80`,
		Args: exactlyOne("an authority, such as web.shop.svc.cluster.local:80"),
		RunE: func(cmd *cobra.Command, args []string) error { return c.profileOf(cmd.Context(), args[0], from) },
	}
	cmd.Flags().StringVar(&from, "from", "", "namespace/pod whose proxy asks")
	return cmd
}

func (c *cli) profileOf(ctx context.Context, authority, from string) error {
	m, _, err := c.modelAs(ctx, from)
	if err != nil {
		return err
	}
	full, err := m.Outbound(authority)
	if err != nil {
		return fmt.Errorf("%s: %w", authority, err)
	}
	out := *full
	out.Endpoints, out.Backends = nil, nil
	return c.printMessage(api.EncodeOutbound(&out), "json")
}

func (c *cli) printMessage(m proto.Message, format string) error {
	data, err := explain.Encode(m, format)
	if err != nil {
		return err
	}
	_, err = c.out.Write(data)
	return err
}
