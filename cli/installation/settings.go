package installation

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/tulle-mesh/tulle/cli/manifest"
	"github.com/tulle-mesh/tulle/install"
)

// Settings are what a command line says about the values of an installation.
type Settings struct {
	// HA takes the values of three replicas.
	HA bool
	// Registry is the prefix of both images; "" is that of the defaults.
	Registry string
	// ExternalIssuer and ExternalCA say that somebody else keeps the issuer's Secret, or the trust anchors.
	ExternalIssuer, ExternalCA bool
	// AnchorsFile, CertFile and KeyFile are PEM files of the user's own trust anchors and issuer.
	AnchorsFile, CertFile, KeyFile string
	// Flags are those that set one value each.
	Flags []FlagValue
	// ValueFiles are files and URLs of values; Read reads one.
	ValueFiles []string
	Read       func(ctx context.Context, name string) ([]byte, error)
	// Set, SetString and SetFile are expressions such as key=value.
	Set, SetString, SetFile []string
}

// FlagValue is a flag, with the key of the value that it sets.
type FlagValue struct{ Flag, Key, Value string }

// apply applies flags, then values files, then the expressions: what is more explicit wins.
func (s *Settings) apply(ctx context.Context, o *install.Overrides) error {
	if s.HA {
		if err := o.HighAvailability(); err != nil {
			return err
		}
	}
	if err := s.applyFlags(o); err != nil {
		return err
	}
	for _, name := range s.ValueFiles {
		if err := s.applyFile(ctx, o, name); err != nil {
			return err
		}
	}
	setFile := func(expr string) error { return o.SetFile(expr, os.ReadFile) }
	for _, set := range []struct {
		exprs []string
		apply func(string) error
	}{{s.Set, o.Set}, {s.SetString, o.SetString}, {s.SetFile, setFile}} {
		for _, expr := range set.exprs {
			if err := set.apply(expr); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Settings) applyFlags(o *install.Overrides) error {
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
func (s *Settings) applyFile(ctx context.Context, o *install.Overrides, name string) error {
	data, err := s.Read(ctx, name)
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
