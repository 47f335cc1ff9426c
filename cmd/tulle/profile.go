package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tulle-mesh/tulle/cli/manifest"
	"github.com/tulle-mesh/tulle/cli/profile"
	"github.com/tulle-mesh/tulle/mesh"
)

type profileOptions struct {
	profile.Service
	template       bool
	openAPI, proto string
	output         string
}

func (c *cli) profileCommand() *cobra.Command {
	var opts profileOptions
	var ignoreCluster bool
	cmd := &cobra.Command{
		Use:   "profile [flags] (--template | --open-api FILE | --proto FILE) SERVICE",
		Short: "Write a ServiceProfile",
		Long: `profile prints a ServiceProfile for a Service: a template with comments, a route for each operation of an OpenAPI document, or a route
for each method of a protobuf file. It reads the OpenAPI extensions x-linkerd-retryable and x-linkerd-timeout of an operation. FILE may
be a URL, or - for standard input. The profile's namespace is that of -n, and so is the Service's.`,
		Example: `  tulle profile -n shop --template web
  tulle profile -n shop --open-api web.json web | kubectl apply -f -
  tulle profile -n shop --proto catalog.proto catalog | kubectl apply -f -`,
		Args: exactlyOne("the Service"),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.Name, opts.Namespace = args[0], cmp.Or(c.flags.namespace, metav1.NamespaceDefault)
			return c.profile(cmd.Context(), opts)
		},
	}
	fs := cmd.Flags()
	fs.BoolVar(&opts.template, "template", false, "write a template with comments")
	fs.StringVar(&opts.openAPI, "open-api", "", "OpenAPI document, version 2 or 3, in JSON or YAML")
	fs.StringVar(&opts.proto, "proto", "", "protobuf file with the gRPC services")
	fs.StringVar(&opts.ClusterDomain, "cluster-domain", mesh.DefaultClusterDomain, "DNS domain of the cluster")
	fs.BoolVar(&ignoreCluster, "ignore-cluster", false,
		"accepted for scripts that were written for linkerd: the cluster is not asked")
	outputFlag(cmd, &opts.output, "yaml", "json")
	return cmd
}

func (c *cli) profile(ctx context.Context, opts profileOptions) error {
	chosen := 0
	for _, set := range []bool{opts.template, opts.openAPI != "", opts.proto != ""} {
		if set {
			chosen++
		}
	}
	if chosen != 1 {
		return errors.New("give one of --template, --open-api and --proto")
	}
	if err := opts.Check(); err != nil {
		return err
	}
	if opts.template {
		return profile.WriteTemplate(c.out, opts.Service)
	}
	file, parser := opts.openAPI, profile.FromOpenAPI
	if opts.proto != "" {
		file, parser = opts.proto, profile.FromProto
	}
	data, err := c.sources().Read(ctx, file)
	if err != nil {
		return err
	}
	routes, err := profile.Parse(parser, manifest.SourceName(file), data)
	if err != nil {
		return err
	}
	for _, note := range routes.Notes {
		fmt.Fprintf(c.err, "note: %s: %s\n", manifest.SourceName(file), note)
	}
	return manifest.Write(c.out, []map[string]any{opts.Object(routes.List)}, opts.output)
}
