package manifests

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/tulle-mesh/tulle/install"
	"github.com/tulle-mesh/tulle/mesh"
)

// installation returns the values of an installation as its ConfigMap has them.
func installation(t *testing.T, set ...string) string {
	t.Helper()
	o := install.NewOverrides()
	for _, expr := range set {
		if err := o.Set(expr); err != nil {
			t.Fatal(err)
		}
	}
	values, _, err := o.Values()
	if err != nil {
		t.Fatal(err)
	}
	return stored(t, values)
}

// stored returns what the ConfigMap has of the values.
func stored(t *testing.T, v install.Values) string {
	t.Helper()
	for _, obj := range decodeStrict(t, render(t, v)) {
		if config, ok := obj.(*corev1.ConfigMap); ok && config.Name == mesh.InstallConfigMap {
			return config.Data["install"]
		}
	}
	t.Fatal("there is no ConfigMap " + mesh.InstallConfigMap)
	return ""
}

func TestLostValues(t *testing.T) {
	for name, test := range map[string]struct {
		installed, now []string
		want           []string
	}{
		"the same defaults":      {nil, nil, nil},
		"the same settings":      {[]string{"proxy.logLevel=debug"}, []string{"proxy.logLevel=debug"}, nil},
		"a setting that is lost": {[]string{"proxy.logLevel=debug"}, nil, []string{"proxy.logLevel (debug, now info)"}},
		"a new setting":          {nil, []string{"proxy.logLevel=debug"}, nil},
		"another value":          {[]string{"controllerReplicas=3"}, []string{"controllerReplicas=2"}, nil},
		"back to the default":    {[]string{"controllerReplicas=3"}, []string{"controllerReplicas=1"}, nil},
		"a bound that is removed": {[]string{"destinationResources.memory.limit="}, nil,
			[]string{"destinationResources.memory.limit (none, now 250Mi)"}},
		"a bound that is added": {[]string{"proxy.resources.memory.limit=1Gi"}, nil,
			[]string{"proxy.resources.memory.limit (1Gi, now none)"}},
		"labels": {[]string{"podLabels.team=mesh"}, nil, []string{`podLabels ({"team":"mesh"}, now none)`}},
		"a list": {[]string{"podMaySet={proxy-image}"}, nil,
			[]string{`podMaySet (["proxy-image"], now none)`}},
		"a duration": {[]string{"proxy.inboundConnectTimeout=2s"}, nil,
			[]string{"proxy.inboundConnectTimeout (2s, now 0s)"}},
		"a switch": {[]string{"proxy.disableInboundProtocolDetectTimeout=true"}, nil,
			[]string{"proxy.disableInboundProtocolDetectTimeout (true, now false)"}},
		"two": {[]string{"proxy.logLevel=debug,controllerReplicas=3"}, nil,
			[]string{"controllerReplicas (3, now 1)", "proxy.logLevel (debug, now info)"}},
	} {
		t.Run(name, func(t *testing.T) {
			o := install.NewOverrides()
			for _, expr := range test.now {
				if err := o.Set(expr); err != nil {
					t.Fatal(err)
				}
			}
			got, err := o.Lost(installation(t, test.installed...))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("lost (-want +got):\n%s", diff)
			}
		})
	}
}

// TestReusedValuesAreThoseOfTheInstallation reuses values that differ from the defaults, and empty ones.
func TestReusedValuesAreThoseOfTheInstallation(t *testing.T) {
	installed := installation(t, "proxy.logLevel=debug", "destinationResources.memory.limit=", "podLabels.a/b=c",
		"podMaySet={proxy-image}",
		"tolerations[0].key=k", "proxyInit.ignoreInboundPorts=")
	o := install.NewOverrides()
	if err := o.Reuse(installed); err != nil {
		t.Fatal(err)
	}
	values, warnings, err := o.Values()
	if err != nil || len(warnings) != 0 {
		t.Fatalf("error %v, warnings %q", err, warnings)
	}
	if diff := cmp.Diff(installed, stored(t, values)); diff != "" {
		t.Errorf("values (-installed +reused):\n%s", diff)
	}
	if err := o.Set("proxy.logLevel=warn"); err != nil {
		t.Fatal(err)
	}
	if values, _, _ := o.Values(); values.Proxy.LogLevel != "warn" {
		t.Errorf("logLevel is %q, want what was set later", values.Proxy.LogLevel)
	}
	if err := o.Reuse("olderKey: 1\ncontrollerReplicas: 2\n"); err != nil {
		t.Fatal(err)
	}
	if _, warnings, err := o.Values(); err != nil || len(warnings) != 1 {
		t.Errorf("error %v, warnings %q; want one of a key that no longer exists", err, warnings)
	}
}

// TestReuseAsksForTheIssuer reuses values of an installation with an issuer's key, which no ConfigMap stores.
func TestReuseAsksForTheIssuer(t *testing.T) {
	anchor, _ := pairs(t)
	anchors := "identityTrustAnchorsPEM=" + string(anchor.CertPEM)
	for name, test := range map[string]struct {
		installed, now []string
		lacks          bool
	}{
		"our issuer":                      {nil, nil, false},
		"their own":                       {[]string{anchors}, nil, true},
		"their own, with external anchor": {[]string{"identity.externalCA=true"}, nil, true},
		"their own, without the key":      {[]string{anchors}, []string{"identity.issuer.tls.crtPEM=cert"}, true},
		"given again": {[]string{anchors},
			[]string{"identity.issuer.tls.crtPEM=cert", "identity.issuer.tls.keyPEM=key"}, false},
		"an external one": {[]string{anchors, "identity.issuer.scheme=" + install.ExternalIssuer}, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			o := install.NewOverrides()
			if err := o.Reuse(installation(t, test.installed...)); err != nil {
				t.Fatal(err)
			}
			for _, expr := range test.now {
				if err := o.Set(expr); err != nil {
					t.Fatal(err)
				}
			}
			_, _, err := o.Values()
			if lacks := err != nil; lacks != test.lacks || lacks && !strings.Contains(err.Error(),
				"--identity-issuer-key-file") {
				t.Errorf("error %v, want one that names the flags: %t", err, test.lacks)
			}
		})
	}
}
