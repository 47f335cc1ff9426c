package installation

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/tulle-mesh/tulle/cli/manifest"
	"github.com/tulle-mesh/tulle/install"
	"github.com/tulle-mesh/tulle/install/values"
)

// Settings are what a command line says about the values of an installation.
type Settings struct {
	Changes
	// Registry is the prefix of both images; "" is that of the defaults.
	Registry string
	// ExternalIssuer and ExternalCA say that somebody else keeps the issuer's Secret, or the trust anchors.
	ExternalIssuer, ExternalCA bool
	// AnchorsFile, CertFile and KeyFile are PEM files of the user's own trust anchors and issuer.
	AnchorsFile, CertFile, KeyFile string
	// Flags are those that set one value each.
	Flags []FlagValue
}

// Changes are what a command line says about values of any kind.
type Changes struct {
	// HA takes the values of three replicas.
	HA bool
	// ValueFiles are files and URLs of values; Read reads one.
	ValueFiles []string
	Read       func(ctx context.Context, name string) ([]byte, error)
	// Set, SetString and SetFile are expressions such as key=value.
	Set, SetString, SetFile []string
}

// FlagValue is a flag, with the key of the value that it sets.
type FlagValue struct{ Flag, Key, Value string }

// apply applies the flags and the changes.
func (s *Settings) apply(ctx context.Context, o *install.Overrides) error {
	return s.Apply(ctx, o.Overrides, s.applyFlags)
}

// Apply applies --ha, then flags, then values files, then the expressions: what is more explicit wins.
func (c *Changes) Apply(ctx context.Context, o *values.Overrides, flags func(*values.Overrides) error) error {
	if c.HA {
		if err := o.HighAvailability(); err != nil {
			return err
		}
	}
	if err := flags(o); err != nil {
		return err
	}
	for _, name := range c.ValueFiles {
		if err := c.applyFile(ctx, o, name); err != nil {
			return err
		}
	}
	setFile := func(expr string) error { return o.SetFile(expr, os.ReadFile) }
	for _, set := range []struct {
		exprs []string
		apply func(string) error
	}{{c.Set, o.Set}, {c.SetString, o.SetString}, {c.SetFile, setFile}} {
		for _, expr := range set.exprs {
			if err := set.apply(expr); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Settings) applyFlags(o *values.Overrides) error {
	set := map[string]string{}
	if s.Registry != "" {
		prefix := strings.TrimSuffix(s.Registry, "/")
		set["controllerImage"], set["proxy.image.name"] = prefix+"/controller", prefix+"/proxy"
	}
	if s.ExternalIssuer {
		set["identity.issuer.scheme"] = install.ExternalIssuer
	}
	if s.ExternalCA {
		set["identity.externalCA"] = "true"
	}
	for key, file := range map[string]string{
		"identityTrustAnchorsPEM": s.AnchorsFile, "identity.issuer.tls.crtPEM": s.CertFile,
		"identity.issuer.tls.keyPEM": s.KeyFile,
	} {
		if file == "" {
			continue
		}
		data, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("read credentials: %w", err)
		}
		set[key] = string(data)
	}
	for key, value := range set {
		if err := o.SetKey(key, key, value); err != nil {
			return err
		}
	}
	for _, f := range s.Flags {
		if err := o.SetKey("--"+f.Flag, f.Key, f.Value); err != nil {
			return err
		}
	}
	return nil
}

// applyFile applies a values file, which is one document.
func (c *Changes) applyFile(ctx context.Context, o *values.Overrides, name string) error {
	data, err := c.Read(ctx, name)
	if err != nil {
		return err
	}
	if docs, err := manifest.ReadDocuments(manifest.SourceName(name), data); err != nil {
		return err
	} else if len(docs) > 1 {
		return docs[1].ErrorAt(0, "", "want one document")
	}
	return o.File(name, data)
}
