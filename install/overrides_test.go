package install

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSet(t *testing.T) {
	type reader func(Values) any
	for name, test := range map[string]struct {
		expr string
		read reader
		want any
	}{
		"a number": {"controllerReplicas=2", func(v Values) any { return v.ControllerReplicas }, 2},
		"a truth": {"enablePodAntiAffinity=true",
			func(v Values) any { return v.EnablePodAntiAffinity }, true},
		"a number for a text": {"linkerdVersion=1.10", func(v Values) any { return v.Version }, "1.10"},
		"an escaped comma": {`proxy.opaquePorts=25\,587`, func(v Values) any { return v.Proxy.OpaquePorts },
			"25,587"},
		"an escaped dot in a key": {`podLabels.example\.org/team=a`,
			func(v Values) any { return v.PodLabels["example.org/team"] }, "a"},
		"a label that looks like a truth": {"podLabels.x=true", func(v Values) any { return v.PodLabels["x"] }, "true"},
		"an equals sign in the value": {"priorityClassName=a=b", func(v Values) any { return v.PriorityClassName },
			"a=b"},
		"two pairs": {"controllerReplicas=2,controllerReplicas=4",
			func(v Values) any { return v.ControllerReplicas }, 4},
		"null gives the default": {"controllerReplicas=null", func(v Values) any { return v.ControllerReplicas },
			1},
		"a list by braces": {"podMaySet={proxy-image,proxy-version}",
			func(v Values) any { return v.PodMaySet }, []string{"proxy-image", "proxy-version"}},
		"a list by index": {"tolerations[0].key=a,tolerations[1].key=b",
			func(v Values) any { return v.Tolerations }, []Toleration{{Key: "a"}, {Key: "b"}}},
		"a PEM value keeps commas": {
			"identityTrustAnchorsPEM=subject: O=a, CN=b\n-----BEGIN X-----\n-----END X-----\n,controllerReplicas=3",
			func(v Values) any { return []any{v.IdentityTrustAnchorsPEM, v.ControllerReplicas} },
			[]any{"subject: O=a, CN=b\n-----BEGIN X-----\n-----END X-----\n", 3}},
		"a quantity below a key with a dash": {"identityResources.ephemeral-storage.limit=1Gi",
			func(v Values) any { return v.IdentityResources.EphemeralStorage.Limit }, "1Gi"},
	} {
		t.Run(name, func(t *testing.T) {
			o := NewOverrides()
			if err := o.Set(test.expr); err != nil {
				t.Fatal(err)
			}
			v, warnings, err := o.Values()
			if err != nil || warnings != nil {
				t.Fatalf("Values() = %v, %v", warnings, err)
			}
			if diff := cmp.Diff(test.want, test.read(v)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestSetRejects(t *testing.T) {
	for name, test := range map[string]struct{ expr, want string }{
		"no value":               {"controllerReplicas", "want key=value"},
		"a misspelled key":       {"controlerReplicas=2", "did you mean controllerReplicas?"},
		"a misspelled inner key": {"proxy.logLevl=debug", "did you mean proxy.logLevel?"},
		"a key far from any":     {"zzzzzz=1", "unknown key zzzzzz: docs/cli.md#values-of-install lists the keys"},
		"a text for a number":    {"controllerReplicas=two", `controllerReplicas: "two" is not a number`},
		"half a replica":         {"controllerReplicas=1.5", "controllerReplicas: number 1.5 does not fit"},
		"a text for a truth":     {"enablePodAntiAffinity=yes", "is not true or false"},
		"a value for a group":    {"proxy=1", "proxy: want keys below it"},
		"a bad duration":         {"proxy.shutdownGracePeriod=soon", "proxy.shutdownGracePeriod: "},
		"an open list":           {"podMaySet={a", "closing brace"},
		"an index too high":      {"tolerations[99999].key=a", "from 0 to 1000"},
		"an empty part":          {"proxy..logLevel=info", "empty part"},
	} {
		t.Run(name, func(t *testing.T) {
			o := NewOverrides()
			err := o.Set(test.expr)
			if err == nil {
				_, _, err = o.Values()
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Set(%q) = %v; want an error with %q", test.expr, err, test.want)
			}
		})
	}
}

func TestLaterOverridesWin(t *testing.T) {
	o := NewOverrides()
	for _, step := range []error{
		o.HighAvailability(),
		o.File("a.yaml", []byte("controllerReplicas: 5\nproxy:\n  logLevel: debug\n")),
		o.File("b.yaml", []byte("proxy:\n  resources:\n    cpu: {limit: 1}\n")),
		o.Set("proxy.logLevel=warn"),
		o.SetString("podLabels.zone=7"),
		o.SetFile("identityTrustAnchorsPEM=ca.crt", func(string) ([]byte, error) { return []byte("pem, with a comma"), nil }),
	} {
		if step != nil {
			t.Fatal(step)
		}
	}
	v, _, err := o.Values()
	if err != nil {
		t.Fatal(err)
	}
	got := []any{v.ControllerReplicas, v.Proxy.LogLevel, v.Proxy.Resources.CPU.Limit, v.Proxy.Resources.CPU.Request,
		v.PodLabels["zone"],
		v.IdentityTrustAnchorsPEM, string(v.WebhookFailurePolicy)}
	want := []any{5, "warn", "1", "100m", "7", "pem, with a comma", "Fail"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestKeysOfLinkerdWithoutMeaningAreWarnings(t *testing.T) {
	o := NewOverrides()
	if err := o.Set(
		"disableHeartBeat=true,proxyInit.iptablesMode=nft,proxyInjector.caBundle=x,controllerReplicas=2"); err != nil {
		t.Fatal(err)
	}
	v, warnings, err := o.Values()
	if err != nil {
		t.Fatal(err)
	}
	if len(warnings) != 3 || !strings.HasPrefix(warnings[0], "disableHeartBeat has no effect: ") ||
		v.ControllerReplicas != 2 {
		t.Errorf("got warnings %q and %d replicas; want one for each of three keys, and 2", warnings, v.ControllerReplicas)
	}
}

func TestEveryKeyWithoutMeaningIsUnknownToTulle(t *testing.T) {
	known := map[string]bool{}
	for _, k := range schema.Keys() {
		known[k] = true
	}
	for k := range linkerdOnly {
		if known[k] {
			t.Errorf("%s is in values.yaml and in the list of keys without meaning", k)
		}
	}
}

func TestValuesFileMistakesNameTheFile(t *testing.T) {
	o := NewOverrides()
	err := o.File("mine.yaml", []byte("a: b: c"))
	if err == nil || !strings.Contains(err.Error(), "mine.yaml") {
		t.Errorf("got %v; want an error that names mine.yaml", err)
	}
	if err := o.SetFile("identityTrustAnchorsPEM=/nonexistent", os.ReadFile); err == nil {
		t.Error("a missing file gives no error")
	}
}

func FuzzSet(f *testing.F) {
	f.Add(`a.b[0].c={x,y},d=\,`)
	f.Add("identityTrustAnchorsPEM=-----,x=1")
	f.Fuzz(func(t *testing.T, expr string) {
		o := NewOverrides()
		if o.Set(expr) != nil {
			return
		}
		if _, _, err := o.Values(); err == nil {
			return
		}
	})
}
