package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy"
)

// runProxy serves until SIGTERM or SIGINT, and then drains.
func runProxy(args []string) error {
	flags := flag.NewFlagSet("tulle-proxy", flag.ContinueOnError)
	local := flags.String("local", "",
		"serve the fixed listeners of this JSON file, without control plane and redirection")
	logLevel := flags.String("log-level", "", "debug, info, warn or error; overrides the configuration")
	showVersion := flags.Bool("version", false, "print the version and exit")
	if err := flags.Parse(args); err != nil {
		return ignoreHelp(err)
	}
	if *showVersion {
		fmt.Println("tulle-proxy", version)
		return nil
	}
	cfg, err := loadConfig(*local)
	if err != nil {
		return err
	}
	if *logLevel != "" {
		cfg.Settings.LogLevel = *logLevel
	}
	var lost atomic.Uint64
	logs, access := newLines(os.Stderr, &lost), newLines(os.Stdout, &lost)
	for _, l := range []*lines{logs, access} {
		go l.run()
		defer l.close()
	}
	if cfg.Level, cfg.Log, err = newLogger(cfg.Settings.LogLevel, cfg.Settings.LogFormat, logs); err != nil {
		return err
	}
	cfg.Version, cfg.AccessLog, cfg.LostLines = version, access, lost.Load

	limitRuntime(&cfg.Settings, cfg.Log)
	p, err := proxy.New(cfg)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	cfg.Log.Info("starting", zap.String("version", version), zap.String("pod", cfg.Pod.Namespace+"/"+cfg.Pod.Name))
	return p.Run(ctx)
}

// loadConfig reads the local file or, without one, the environment.
func loadConfig(local string) (proxy.Config, error) {
	var cfg proxy.Config
	if local != "" {
		text, err := os.ReadFile(local)
		if err != nil {
			return cfg, err
		}
		cfg.Local, err = proxy.ParseLocal(text)
		return cfg, err
	}
	var err error
	if cfg.Settings, err = mesh.ParseProxyConfig([]byte(os.Getenv(mesh.ProxyConfigEnv))); err != nil {
		return cfg, err
	}
	if cfg.Pod, err = proxy.ParsePod(os.Getenv); err != nil {
		return cfg, err
	}
	gateways, err := proxy.Gateways()
	cfg.Pod.HostIPs = append(cfg.Pod.HostIPs, gateways...)
	return cfg, err
}

// newLogger writes to out; level and format are what the configuration and the level endpoint accept.
func newLogger(level, format string, out io.Writer) (zap.AtomicLevel, *zap.Logger, error) {
	atom := zap.NewAtomicLevel()
	if level != "" {
		if err := atom.UnmarshalText([]byte(level)); err != nil {
			return atom, nil, fmt.Errorf("log level %q: want debug, info, warn or error", level)
		}
	}
	cfg := zap.NewProductionEncoderConfig()
	cfg.EncodeTime = zapcore.RFC3339TimeEncoder
	var encoder zapcore.Encoder
	switch format {
	case "", "plain":
		encoder = zapcore.NewConsoleEncoder(cfg)
	case "json":
		encoder = zapcore.NewJSONEncoder(cfg)
	default:
		return atom, nil, fmt.Errorf("log format %q: want plain or json", format)
	}
	return atom, zap.New(zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(out)), atom)), nil
}
