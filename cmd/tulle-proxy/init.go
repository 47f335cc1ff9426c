package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"go.uber.org/zap"

	"github.com/tulle-mesh/tulle/injector/redirect/nft"
	"github.com/tulle-mesh/tulle/mesh"
)

// runInit programs the capture of the pod's traffic and proves that it works, as mesh.CaptureConfigEnv says. The pod
// does not start unless it returns nil.
func runInit(args []string) error {
	flags := flag.NewFlagSet("tulle-proxy init", flag.ContinueOnError)
	if err := flags.Parse(args); err != nil {
		return ignoreHelp(err)
	}
	capture, err := mesh.ParseCaptureConfig([]byte(os.Getenv(mesh.CaptureConfigEnv)))
	if err != nil {
		return fmt.Errorf("init: %w", err)
	}
	_, log, err := newLogger("", "", os.Stderr)
	if err != nil {
		return fmt.Errorf("init: %w", err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	report, proofs, err := nft.Capture(ctx, capture)
	if err != nil {
		return fmt.Errorf("init: %w", err)
	}
	if !report.IPv6 {
		log.Info("IPv6 is not captured: the pod has no IPv6 address and the kernel no way to redirect one",
			zap.Error(report.NoIPv6))
	}
	if report.NoLocality != nil {
		log.Warn("the kernel cannot match the pod's own addresses: packets for other addresses are redirected too, and "+
			"the proxy refuses them",
			zap.Error(report.NoLocality))
	}
	for _, p := range proofs {
		log.Info("probed", zap.Stringer("target", p.Target), zap.Stringer("outcome", p.Result))
	}
	log.Info("traffic is captured", zap.Uint16("inbound", capture.InboundPort),
		zap.Uint16("outbound", capture.OutboundPort),
		zap.Stringer("skipInbound", capture.SkipInboundPorts), zap.Stringer("skipOutbound", capture.SkipOutboundPorts),
		zap.Stringers("skipSubnets", capture.SkipSubnets))
	return nil
}
