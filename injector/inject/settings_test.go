package inject

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tulle-mesh/tulle/mesh"
)

func TestParseSettings(t *testing.T) {
	const c = mesh.ConfigPrefix
	type want struct {
		got  func(Settings) any
		want any
	}
	for _, tt := range []struct {
		name    string
		ns, pod map[string]string
		want    want
	}{
		{"the pod wins over the namespace", map[string]string{c + "proxy-log-level": "debug"},
			map[string]string{c + "proxy-log-level": "warn"},
			want{func(s Settings) any { return s.Proxy.LogLevel }, "warn"}},
		{"the stable prefix wins over alpha", nil,
			map[string]string{"config.alpha.linkerd.io/access-log": "json", c + "access-log": "apache"},
			want{func(s Settings) any { return s.Proxy.AccessLog }, "apache"}},
		{"directives keep the level of the mesh's own code", nil,
			map[string]string{c + "proxy-log-level": "warn,linkerd=trace"},
			want{func(s Settings) any { return s.Proxy.LogLevel }, "debug"}},
		{"off becomes the quietest level", nil, map[string]string{c + "proxy-log-level": "off"},
			want{func(s Settings) any { return s.Proxy.LogLevel }, "error"}},
		{"space around a value is ignored", nil, map[string]string{c + "admin-port": " 9191 "},
			want{func(s Settings) any { return s.Proxy.Ports.Admin }, uint16(9191)}},
		{"a namespace may set the image", map[string]string{c + "proxy-image": "example.org:5000/mesh/proxy"}, nil,
			want{func(s Settings) any { return s.ImageRef() }, "example.org:5000/mesh/proxy:dev"}},
		{"a digest is joined with @", nil, map[string]string{c + "proxy-version": "sha256:" + strings.Repeat("a", 64)},
			want{func(s Settings) any { return s.ImageRef() }, "ghcr.io/tulle-mesh/proxy@sha256:" + strings.Repeat("a", 64)}},
		{"a limit below the default request lowers the request", nil, map[string]string{c + "proxy-memory-limit": "10Mi"},
			want{func(s Settings) any { return s.Proxy.Resources.Memory }, Bound{"10Mi", "10Mi"}}},
		{"durations are Go's", nil, map[string]string{c + "proxy-outbound-connect-timeout": "1500ms"},
			want{func(s Settings) any { return time.Duration(s.Proxy.OutboundConnectTimeout) }, 1500 * time.Millisecond}},
		{"an environment is merged by name", map[string]string{c +
			"proxy-additional-env": `[{"name":"A","value":"1"},{"name":"B","value":"2"},{"name":"A","value":"3"}]`}, nil,
			want{func(s Settings) any { return s.Proxy.AdditionalEnv }, []EnvVar{{"A", "3"}, {"B", "2"}}}},
		{"a header list size is a quantity", nil, map[string]string{mesh.OwnConfigPrefix + "max-header-list-size": "256Ki"},
			want{func(s Settings) any { return bytesOf(s.Proxy.MaxHeaderListSize) }, 256 << 10}},
		{"tap is off", nil, nil,
			want{func(s Settings) any { return s.Proxy.Tap.id("cluster.local") }, ""}},
		{"tap can be turned on, for the tap server alone", map[string]string{mesh.OwnConfigPrefix + "tap": "enabled"}, nil,
			want{func(s Settings) any { return s.Proxy.Tap.id("cluster.local") }, "spiffe://cluster.local/ns/tulle-viz/sa/tap"}},
		{"a pod can turn it off", map[string]string{mesh.OwnConfigPrefix + "tap": "enabled"},
			map[string]string{mesh.OwnConfigPrefix + "tap": "disabled"},
			want{func(s Settings) any { return s.Proxy.Tap.id("cluster.local") }, ""}},
		{"so it can with Linkerd's annotation", map[string]string{mesh.OwnConfigPrefix + "tap": "enabled"},
			map[string]string{mesh.DisableTapAnnotation: "true"},
			want{func(s Settings) any { return s.Proxy.Tap.id("cluster.local") }, ""}},
		{"a pod must not turn it on where its namespace turned it off",
			map[string]string{mesh.OwnConfigPrefix + "tap": "false"}, map[string]string{mesh.OwnConfigPrefix + "tap": "true"},
			want{func(s Settings) any { return append(s.Warnings, s.Proxy.Tap.id("cluster.local")) }, []string{
				"annotation config.tulle.dev/tap of the pod has no effect: its namespace turns tap off", ""}}},
		{"nor with Linkerd's annotations",
			map[string]string{mesh.OwnConfigPrefix + "tap": "enabled", mesh.DisableTapAnnotation: "true"},
			map[string]string{mesh.DisableTapAnnotation: "false"},
			want{func(s Settings) any { return append(s.Warnings, s.Proxy.Tap.id("cluster.local")) }, []string{
				"annotation viz.linkerd.io/disable-tap of the pod has no effect: its namespace turns tap off", ""}}},
		{"spans are off", nil, nil, want{tracingOf, (*mesh.Tracing)(nil)}},
		{"a collector turns them on", nil, map[string]string{c + "trace-collector": "otel.tracing:4317"},
			want{tracingOf, &mesh.Tracing{Collector: "otel.tracing:4317", SamplingRatio: 0.1, ServiceName: "web",
				Workload: "deployment/web"}}},
		{"a meshed collector, in the namespace of its name", map[string]string{
			c + "trace-collector": "http://otel.tracing.svc.cluster.local:4318",
			"config.alpha.linkerd.io/trace-collector-service-account": "collector",
			mesh.OwnConfigPrefix + "trace-sampling-ratio":             "0",
		}, nil, want{tracingOf, &mesh.Tracing{Collector: "http://otel.tracing.svc.cluster.local:4318", ServiceName: "web",
			Workload: "deployment/web", CollectorID: "spiffe://cluster.local/ns/tracing/sa/collector"}}},
		{"a meshed collector of another namespace", map[string]string{c + "trace-collector": "10.0.0.1:4317",
			c + "trace-collector-service-account": "tools/collector"}, nil,
			want{func(s Settings) any { return tracingOf(s).(*mesh.Tracing).CollectorID },
				"spiffe://cluster.local/ns/tools/sa/collector"}},
		{"a collector of one's own is not the namespace's", map[string]string{c + "trace-collector": "otel.tracing:4317",
			c + "trace-collector-service-account": "collector"}, map[string]string{c + "trace-collector": "mine:4317"},
			want{func(s Settings) any { return tracingOf(s).(*mesh.Tracing).CollectorID }, ""}},
		{"a pod can turn spans off", map[string]string{c + "trace-collector": "otel.tracing:4317"},
			map[string]string{mesh.OwnConfigPrefix + "tracing": "disabled"}, want{tracingOf, (*mesh.Tracing)(nil)}},
		{"redacted headers add up", map[string]string{mesh.OwnConfigPrefix + "tap-redacted-headers": "x-a, x-b"},
			map[string]string{mesh.OwnConfigPrefix + "tap-redacted-headers": "x-b,x-c"},
			want{func(s Settings) any { return s.Proxy.Tap.RedactedHeaders }, "x-a,x-b,x-c"}},
		{"redacted query parameters are all of them", nil, nil,
			want{func(s Settings) any { return s.Proxy.Tap.parameters() }, []string(nil)}},
		{"a pod cannot show some of them", nil,
			map[string]string{mesh.OwnConfigPrefix + "tap-redacted-parameters": "card"},
			want{func(s Settings) any { return s.Proxy.Tap.parameters() }, []string(nil)}},
		{"what is Tulle's own has no effect under Linkerd's prefix", nil,
			map[string]string{c + "max-header-list-size": "256Ki"},
			want{func(s Settings) any { return append(s.Warnings, s.Proxy.MaxHeaderListSize) }, []string{
				"annotation config.linkerd.io/max-header-list-size of the pod is unknown and has no effect; did you mean " +
					"config.tulle.dev/max-header-list-size?", ""}}},
		{"what is Linkerd's has no effect under Tulle's", nil, map[string]string{mesh.OwnConfigPrefix + "access-log": "json"},
			want{func(s Settings) any { return append(s.Warnings, s.Proxy.AccessLog) }, []string{
				"annotation config.tulle.dev/access-log of the pod is unknown and has no effect; did you mean " +
					"config.linkerd.io/access-log?", ""}}},
		{"other annotations are not looked at", nil, map[string]string{"example.org/x": "y", "linkerd.io/inject": "enabled"},
			want{func(s Settings) any { return s.Warnings }, []string(nil)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := ParseSettings(Defaults(), tt.ns, tt.pod)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want.want, tt.want.got(s)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// tracingOf is what the proxy of a Deployment's pod gets.
func tracingOf(s Settings) any {
	return s.Proxy.Tracing.config("cluster.local", "shop", Owner{Kind: "Deployment", Name: "web"}, "web-1")
}

func TestTracingNeedsACollector(t *testing.T) {
	_, err := ParseSettings(Defaults(), nil, map[string]string{mesh.OwnConfigPrefix + "tracing": "true"})
	if err == nil || !strings.Contains(err.Error(), "config.linkerd.io/trace-collector") {
		t.Errorf("got %v, want an error that names the annotation", err)
	}
}

// TestRefusedCollectorsNameTheRemedy is for addresses that a backend's own documents give.
func TestRefusedCollectorsNameTheRemedy(t *testing.T) {
	for value, remedy := range map[string]string{
		"https://api.example.com:443": "send to a meshed collector in the cluster, which passes the spans on by https",
		"otel.tracing:4318":           "write http://otel.tracing:4318",
		"http://otel.tracing":         "missing port",
	} {
		for where, written := range map[string][2]map[string]string{
			"namespace": {{mesh.ConfigPrefix + "trace-collector": value}, nil},
			"pod":       {nil, {mesh.ConfigPrefix + "trace-collector": value}},
		} {
			_, err := ParseSettings(Defaults(), written[0], written[1])
			for _, part := range []string{"trace-collector of the " + where, value, "want " + mesh.WantCollector, remedy} {
				if err == nil || !strings.Contains(err.Error(), part) {
					t.Errorf("%s on a %s: error %q lacks %q", value, where, err, part)
				}
			}
		}
	}
}

// TestEveryAnnotationRefuses proves for each row of the table that a bad value is an error that names the annotation,
// the value and what is accepted.
func TestEveryAnnotationRefuses(t *testing.T) {
	defaults := Defaults()
	for _, a := range annotations() {
		if a.admin {
			defaults.PodMaySet = append(defaults.PodMaySet, a.key)
		}
	}
	for _, a := range annotations() {
		t.Run(a.key, func(t *testing.T) {
			for _, bad := range []string{"no way!", "-1", `[{"name":"TULLE_PROXY_CONFIG","value":"x"}]`} {
				_, err := ParseSettings(defaults, nil, map[string]string{a.name(): bad})
				if err == nil {
					t.Errorf("value %q was accepted", bad)
					continue
				}
				for _, part := range []string{a.name(), "want " + a.want} {
					if !strings.Contains(err.Error(), part) {
						t.Errorf("error %q lacks %q", err, part)
					}
				}
			}
		})
	}
}

func TestDisableTapIsTrueOrFalse(t *testing.T) {
	_, err := ParseSettings(Defaults(), nil, map[string]string{mesh.DisableTapAnnotation: "yes"})
	if err == nil || !strings.Contains(err.Error(), mesh.DisableTapAnnotation) {
		t.Errorf("got %v, want an error that names the annotation", err)
	}
}

func TestMistakesDoNotHideWarnings(t *testing.T) {
	s, err := ParseSettings(Defaults(), nil,
		map[string]string{mesh.ConfigPrefix + "proxy-cpu-limit": "lots", mesh.ConfigPrefix + "opaque-port": "1"})
	if err == nil || len(s.Warnings) != 1 ||
		!strings.Contains(s.Warnings[0], "did you mean config.linkerd.io/opaque-ports?") {
		t.Errorf("error %v, warnings %q; want an error, and a warning of the other annotation", err, s.Warnings)
	}
}

func TestHeaderListSizeIsBounded(t *testing.T) {
	for value, accepted := range map[string]bool{
		"8Ki": true, "65536": true, "64Ki": true, "1Mi": true, "1M": true,
		"": false, "0": false, "8191": false, "1048577": false, "2Mi": false, "1Gi": false, "64Kib": false, "100000m": false,
		"1e30": false,
	} {
		_, err := ParseSettings(Defaults(), nil, map[string]string{mesh.OwnConfigPrefix + "max-header-list-size": value})
		if (err == nil) != accepted {
			t.Errorf("%q: got %v, want accepted %v", value, err, accepted)
		}
	}
}

// Annotations that the controller ignores must not look as if they were active, a policy above all.
func TestLiveAnnotationsHaveTheStablePrefixAlone(t *testing.T) {
	for key, value := range map[string]string{
		"opaque-ports": "3306", "skip-inbound-ports": "25", "default-inbound-policy": "deny",
		"proxy-require-identity-inbound-ports": "80",
	} {
		if _, err := ParseSettings(Defaults(), nil, map[string]string{mesh.ConfigPrefix + key: value}); err != nil {
			t.Errorf("%s: %v", key, err)
		}
		for _, prefix := range []string{"config.alpha.linkerd.io/", "config.beta.linkerd.io/"} {
			written := map[string]string{prefix + key: value}
			for where, settings := range map[string][2]map[string]string{"pod": {nil, written}, "namespace": {written, nil}} {
				_, err := ParseSettings(Defaults(), settings[0], settings[1])
				if err == nil || !strings.Contains(err.Error(), prefix+key+" of the "+where) {
					t.Errorf("%s%s: error is %v, want a refusal that names it and the %s", prefix, key, err, where)
				}
			}
		}
	}
}

func TestAdministratorsAnnotations(t *testing.T) {
	pod := map[string]string{mesh.ConfigPrefix + "proxy-image": "evil.example/proxy"}
	if _, err := ParseSettings(Defaults(), nil, pod); err == nil ||
		!strings.Contains(err.Error(), "is the administrator's") {
		t.Errorf("error is %v, want a refusal", err)
	}
	if _, err := ParseSettings(Defaults(), pod, nil); err != nil {
		t.Errorf("on a namespace: %v", err)
	}
	open := Defaults()
	open.PodMaySet = []string{"proxy-image"}
	if _, err := ParseSettings(open, nil, pod); err != nil {
		t.Errorf("with podMaySet: %v", err)
	}
}

func TestParseSettingsNamesEveryMistake(t *testing.T) {
	_, err := ParseSettings(Defaults(), map[string]string{mesh.ConfigPrefix + "proxy-gid": "root"}, map[string]string{
		mesh.ConfigPrefix + "opaque-ports":    "1-",
		mesh.ConfigPrefix + "proxy-cpu-limit": "lots",
	})
	for _, part := range []string{"proxy-gid of the namespace", "opaque-ports of the pod", "proxy-cpu-limit of the pod"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("error %v lacks %q", err, part)
		}
	}
}

func TestMisspelledInjectIsAWarning(t *testing.T) {
	s, err := ParseSettings(Defaults(), map[string]string{"linkerd.io/injekt": "enabled",
		mesh.InjectAnnotation: "enabled"},
		map[string]string{"config.linkerd.io/inject": "enabled", mesh.ProxyVersionAnnotation: "v1",
			"sidecar.istio.io/inject": "true"})
	want := []string{
		"annotation linkerd.io/injekt of the namespace is unknown and has no effect; did you mean linkerd.io/inject?",
		"annotation config.linkerd.io/inject of the pod is unknown and has no effect; did you mean linkerd.io/inject?",
	}
	if diff := cmp.Diff(want, s.Warnings); diff != "" || err != nil {
		t.Errorf("error %v, warnings (-want +got):\n%s", err, diff)
	}
}

// FuzzParseSettings: whatever an annotation holds, the outcome is an error or settings whose pod the proxy understands.
func FuzzParseSettings(f *testing.F) {
	for i, a := range annotations() {
		defaults := Defaults()
		f.Add(i, a.field.get(&defaults))
	}
	f.Add(0, "1-65535,0x10,,")
	f.Fuzz(func(t *testing.T, row int, value string) {
		all := annotations()
		a := all[uint(row)%uint(len(all))]
		s, err := ParseSettings(Defaults(), map[string]string{a.name(): value}, nil)
		if err != nil {
			return
		}
		if err := s.Validate(); err != nil {
			t.Errorf("%s: %q was accepted, and then refused: %v", a.key, value, err)
		}
		capture, err := s.capture()
		if err != nil {
			t.Errorf("%s: %q was accepted, but capture is impossible: %v", a.key, value, err)
		}
		if !capture.SkipInboundPorts.Contains(s.Proxy.Ports.Admin) {
			t.Errorf("%s: %q: the admin port is captured", a.key, value)
		}
	})
}

func TestCheckServiceKeys(t *testing.T) {
	got := CheckServiceKeys(map[string]string{
		mesh.OpaquePortsAnnotation: "80", mesh.InjectAnnotation: "enabled", "linkerd.io/injct": "enabled",
		"config.tulle.dev/zzz":              "1",
		"config.linkerd.io/proxy-log-level": "debug", "config.linkerd.io/opaque-prts": "80", "retry.linkerd.io/http": "5xx",
	})
	elsewhere := " has no effect on a Service; annotate the workload's pod template or the namespace with "
	want := []string{
		"annotation config.linkerd.io/opaque-prts of the Service is unknown and has no effect; did you mean " +
			"config.linkerd.io/opaque-ports?",
		"annotation config.linkerd.io/proxy-log-level" + elsewhere + "config.linkerd.io/proxy-log-level",
		"annotation config.tulle.dev/zzz of the Service is unknown and has no effect",
		"annotation linkerd.io/injct" + elsewhere + "linkerd.io/inject",
		"annotation linkerd.io/inject" + elsewhere + "linkerd.io/inject",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
	many := map[string]string{}
	for i := range 100 {
		many[fmt.Sprint("config.linkerd.io/x", i)] = ""
	}
	if got := CheckServiceKeys(many); len(got) != maxUnknown+1 {
		t.Errorf("%d warnings about 100 annotations, want %d", len(got), maxUnknown+1)
	}
}

// TestTapFollowsTheExtension checks the mode auto: what the installation of the extension offers, and who may refuse.
func TestTapFollowsTheExtension(t *testing.T) {
	const own = mesh.OwnConfigPrefix + "tap"
	for _, test := range []struct {
		name           string
		mode           TapMode
		offered        bool
		namespace, pod map[string]string
		want           bool
	}{
		{"no extension", TapAuto, false, nil, nil, false},
		{"the extension offers it", TapAuto, true, nil, nil, true},
		{"the namespace refuses", TapAuto, true, map[string]string{own: "false"}, nil, false},
		{"the namespace refuses as in Linkerd", TapAuto, true, map[string]string{mesh.DisableTapAnnotation: "true"}, nil,
			false},
		{"the pod refuses", TapAuto, true, nil, map[string]string{mesh.DisableTapAnnotation: "true"}, false},
		{"the pod does not overrule its namespace", TapAuto, true, map[string]string{own: "false"},
			map[string]string{own: "auto"}, false},
		{"the installation is off", TapOff, true, nil, nil, false},
		{"the namespace follows the extension where the installation is off", TapOff, true, map[string]string{own: "auto"},
			nil, true},
		{"the installation is on, without an extension", TapOn, false, nil, nil, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			v := Defaults()
			v.Proxy.Tap.Enabled, v.Proxy.Tap.Offered = test.mode, test.offered
			s, err := ParseSettings(v, test.namespace, test.pod)
			if err != nil {
				t.Fatal(err)
			}
			if got := s.Proxy.Tap.id("cluster.local") != ""; got != test.want {
				t.Errorf("on is %v, want %v", got, test.want)
			}
		})
	}
	for text, want := range map[string]TapMode{"true": TapOn, "false": TapOff, "auto": TapAuto, `"true"`: TapOn} {
		v, err := ParseValues([]byte("proxy: {tap: {enabled: " + text + "}}"))
		if err != nil || v.Proxy.Tap.Enabled != want {
			t.Errorf("enabled: %s is %q, error %v", text, v.Proxy.Tap.Enabled, err)
		}
	}
	if _, err := ParseValues([]byte("proxy: {tap: {enabled: sometimes}}")); err == nil {
		t.Error("a mode that does not exist was accepted")
	}
}
