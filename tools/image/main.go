// Package main writes a container image archive from static files, without a container engine:
//
//	go run ./image --name ghcr.io/tulle-mesh/proxy:dev --file /tulle-proxy=../bin/tulle-proxy \
//	  --entrypoint /tulle-proxy --output ../dist/proxy.tar
package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tulle-mesh/tulle/tools/pack"
)

func main() {
	if err := command().Execute(); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func command() *cobra.Command {
	var (
		spec        pack.Spec
		ref, output string
		files       []string
	)
	cmd := &cobra.Command{
		Use:           "image",
		Short:         "write a container image archive that docker load, kind load image-archive and ctr import accept",
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if spec.Files, err = parseFiles(files); err != nil {
				return err
			}
			img, err := pack.Build(spec)
			if err != nil {
				return err
			}
			if err := pack.WriteFile(output, ref, img); err != nil {
				return err
			}
			digest, err := img.Digest()
			if err != nil {
				return fmt.Errorf("digest image: %w", err)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s  %s  %s\n", output, ref, digest)
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&ref, "name", "", "full image name with tag")
	flags.StringVar(&output, "output", "", "archive to write")
	flags.StringArrayVar(&files, "file", nil, "PATH-IN-IMAGE=FILE, repeatable")
	flags.StringArrayVar(&spec.Entrypoint, "entrypoint", nil, "program to start and its arguments, repeatable")
	flags.StringVar(&spec.User, "user", "65534:65534", "user of the program")
	flags.StringToStringVar(&spec.Labels, "label", nil, "KEY=VALUE label and annotation, repeatable")
	flags.StringVar(&spec.Architecture, "arch", runtime.GOARCH, "architecture of the files")
	for _, required := range []string{"name", "output", "file"} {
		_ = cmd.MarkFlagRequired(required) // fails only for a flag that does not exist
	}
	return cmd
}

func parseFiles(pairs []string) (map[string]string, error) {
	files := make(map[string]string, len(pairs))
	for _, pair := range pairs {
		target, source, ok := strings.Cut(pair, "=")
		if !ok || target == "" || source == "" {
			return nil, fmt.Errorf("--file %q: want PATH-IN-IMAGE=FILE", pair)
		}
		files[target] = source
	}
	return files, nil
}
