package daemon

import (
	"fmt"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// NewLogger returns a logger that writes to stderr. level is debug, info, warn or error ("" means info). format is
// plain or json ("" means plain). Any other value is an error, which lists the valid values.
func NewLogger(level, format string) (*zap.Logger, error) {
	lvl := zapcore.InfoLevel
	if level != "" {
		if err := lvl.UnmarshalText([]byte(level)); err != nil || lvl > zapcore.ErrorLevel {
			return nil, fmt.Errorf("log level %q: want debug, info, warn or error", level)
		}
	}
	cfg := zap.NewProductionConfig()
	cfg.Level = zap.NewAtomicLevelAt(lvl)
	cfg.Sampling = nil
	cfg.DisableCaller = true
	cfg.DisableStacktrace = true
	cfg.EncoderConfig.EncodeTime = zapcore.RFC3339TimeEncoder
	switch format {
	case "", "plain":
		cfg.Encoding = "console"
	case "json":
	default:
		return nil, fmt.Errorf("log format %q: want plain or json", format)
	}
	return cfg.Build()
}
