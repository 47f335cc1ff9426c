package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/tulle-mesh/tulle/cli/manifest"
	"github.com/tulle-mesh/tulle/cli/profile"
	"github.com/tulle-mesh/tulle/crds/v1alpha1"
	"github.com/tulle-mesh/tulle/mesh"
)

type profileOptions struct {
	template        bool
	openAPI, proto  string
	clusterDomain   string
	ignoreCluster   bool
	output          string
	name, namespace string // of the Service
}

func (c *cli) profileCommand() *cobra.Command {
	var opts profileOptions
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
			opts.name, opts.namespace = args[0], c.flags.namespace
			return c.profile(cmd.Context(), opts)
		},
	}
	fs := cmd.Flags()
	fs.BoolVar(&opts.template, "template", false, "write a template with comments")
	fs.StringVar(&opts.openAPI, "open-api", "", "OpenAPI document, version 2 or 3, in JSON or YAML")
	fs.StringVar(&opts.proto, "proto", "", "protobuf file with the gRPC services")
	fs.StringVar(&opts.clusterDomain, "cluster-domain", mesh.DefaultClusterDomain, "DNS domain of the cluster")
	fs.BoolVar(&opts.ignoreCluster, "ignore-cluster", false,
		"accepted for scripts that were written for linkerd: the cluster is not asked")
	fs.StringVarP(&opts.output, "output", "o", "yaml", "format: yaml or json")
	return cmd
}

func (c *cli) profile(ctx context.Context, opts profileOptions) error {
	if opts.namespace == "" {
		opts.namespace = "default"
	}
	chosen := 0
	for _, set := range []bool{opts.template, opts.openAPI != "", opts.proto != ""} {
		if set {
			chosen++
		}
	}
	if chosen != 1 {
		return errors.New("give one of --template, --open-api and --proto")
	}
	if strings.ContainsAny(opts.name, "./:") {
		return fmt.Errorf("service %q: give the name alone, and its namespace with -n", opts.name)
	}
	for what, name := range map[string]string{"service": opts.name, "namespace": opts.namespace} {
		if problems := validation.IsDNS1123Label(name); problems != nil {
			return fmt.Errorf("%s %q: %s", what, name, strings.Join(problems, "; "))
		}
	}
	var routes []v1alpha1.RouteSpec
	var err error
	switch {
	case opts.template:
		return profile.WriteTemplate(c.out, opts.fqdn(), opts.namespace)
	case opts.openAPI != "":
		routes, err = c.routesFrom(ctx, opts.openAPI, profile.FromOpenAPI)
	default:
		routes, err = c.routesFrom(ctx, opts.proto, profile.FromProto)
	}
	if err != nil {
		return err
	}
	tree := map[string]any{
		"apiVersion": "linkerd.io/v1alpha2", "kind": "ServiceProfile",
		"metadata": map[string]any{"name": opts.fqdn(), "namespace": opts.namespace},
		"spec":     map[string]any{"routes": routes},
	}
	return manifest.Write(c.out, []map[string]any{tree}, opts.output)
}

// fqdn is the profile's name: that of the Service as clients resolve it.
func (o profileOptions) fqdn() string {
	return fmt.Sprintf("%s.%s.svc.%s", o.name, o.namespace, o.clusterDomain)
}

// routesFrom returns the routes that parse finds in a file. Notes go to stderr.
func (c *cli) routesFrom(ctx context.Context, file string,
	parse func(string, []byte) (profile.Routes, error)) ([]v1alpha1.RouteSpec, error) {
	data, err := c.sources().Read(ctx, file)
	if err != nil {
		return nil, err
	}
	found, err := parse(manifest.SourceName(file), data)
	if err != nil {
		return nil, err
	}
	if len(found.List) == 0 {
		return nil, fmt.Errorf("%s: describes no operation", manifest.SourceName(file))
	}
	if err := found.CheckLimits(); err != nil {
		return nil, fmt.Errorf("%s: %w", manifest.SourceName(file), err)
	}
	for _, note := range found.Notes {
		fmt.Fprintf(c.err, "note: %s: %s\n", manifest.SourceName(file), note)
	}
	return found.List, nil
}
