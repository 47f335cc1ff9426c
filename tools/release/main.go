// Package main makes a release: archives of the CLI, images for several platforms, the chart, the install script, a
// software bill of materials and checksums. Two releases of one commit by one version of Go are the same bytes,
// wherever and whenever they are made.
//
//	go run -C tools ./release --version v0.1.0
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		stop()
		os.Exit(1)
	}
}

func command() *cobra.Command {
	r := release{}
	var platforms []string
	cmd := &cobra.Command{
		Use:           "release",
		Short:         "write the files of a release, with their checksums",
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			r.log = cmd.OutOrStdout()
			if r.platforms, err = parsePlatforms(platforms); err != nil {
				return err
			}
			if cmd.Flags().Changed("platform") && !r.trial {
				return fmt.Errorf("--platform leaves out parts of a release: make a trial (TRIAL=1, --trial)")
			}
			if r.source, err = filepath.Abs(r.source); err != nil {
				return fmt.Errorf("find %s: %w", r.source, err)
			}
			if r.output == "" {
				r.output = filepath.Join(r.source, "dist", "release")
			}
			if r.output, err = filepath.Abs(r.output); err != nil {
				return fmt.Errorf("find %s: %w", r.output, err)
			}
			return r.Run(cmd.Context())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&r.version, "version", "", "version, such as v0.1.0 or v0.1.0-rc.1: a tag of the commit")
	flags.StringVar(&r.source, "source", "..", "checkout that is released")
	flags.StringVar(&r.output, "output", "", "folder that gets one of the version (default dist/release of the checkout)")
	flags.StringVar(&r.registry, "registry", "ghcr.io/tulle-mesh", "registry and path in the names of the images")
	flags.BoolVar(&r.trial, "trial", false, "accept a checkout with changes, and a version without tag and changelog")
	flags.StringSliceVar(&platforms, "platform", []string{
		"linux/amd64", "linux/arm64", "darwin/amd64", "darwin/arm64", "windows/amd64", "windows/arm64",
	}, "platforms of the CLI, and those of Linux of the images; with --trial")
	_ = cmd.MarkFlagRequired("version") // fails only for a flag that does not exist
	return cmd
}
