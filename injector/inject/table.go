package inject

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/tulle-mesh/tulle/mesh"
)

// annotation is one row of the settings table: a key below config.linkerd.io/ or config.tulle.dev/, what it accepts and
// where the value lives.
type annotation struct {
	key  string
	want string // what is accepted, as the end of "want ..."
	// admin marks what decides which code runs in a proxy or as whom: a pod may set it only if Values.PodMaySet lists it.
	admin bool
	// podOnly marks what a namespace cannot pass on to its pods.
	podOnly bool
	// own marks what Linkerd does not have: its prefix is Tulle's.
	own   bool
	field field
}

// name is what documents call the annotation.
func (a annotation) name() string {
	if a.own {
		return mesh.OwnConfigPrefix + a.key
	}
	return mesh.ConfigPrefix + a.key
}

// wanted says what is accepted instead of a value that set refused, and the cause if it says more than that.
func (a annotation) wanted(err error) string {
	if explained := new(explainedError); errors.As(err, &explained) {
		return "want " + a.want + ": " + explained.Error()
	}
	return "want " + a.want
}

// explainedError is a cause that a user needs beside "want ...".
type explainedError struct{ error }

// prefixes returns what the key may stand under, weakest first: where it is written under two, the last wins.
func (a annotation) prefixes() []string {
	if a.own {
		return []string{mesh.OwnConfigPrefix}
	}
	return prefixes
}

// field reads a value as the text that set accepts and writes it. An empty text from get means that nothing is set.
type field struct {
	get func(*Values) string
	set func(*Values, string) error
}

// annotations returns the settings table in the order that documents show it. It is the one list of what can be set.
func annotations() []annotation {
	return slices.Concat(imageAnnotations(), resourceAnnotations(), trafficAnnotations(), observeAnnotations(),
		tracingAnnotations(),
		lifecycleAnnotations())
}

func imageAnnotations() []annotation {
	return []annotation{
		{key: "proxy-image", want: "an image name without a tag", admin: true,
			field: text(func(v *Values) *string { return &v.Proxy.Image.Name }, checkImageName)},
		{key: "proxy-version", want: "an image tag or a sha256: digest",
			field: text(func(v *Values) *string { return &v.Proxy.Image.Version }, checkImageVersion)},
		{key: "image-pull-policy", want: "Always, IfNotPresent or Never",
			field: enum(func(v *Values) *string { return &v.Proxy.Image.PullPolicy }, "Always", "IfNotPresent", "Never")},
		{key: "proxy-uid", want: "a user number from 1 to 4294967294", admin: true,
			field: number(func(v *Values) *int64 { return &v.Proxy.UID })},
		{key: "proxy-gid", want: "a group number from 1 to 4294967294", admin: true,
			field: number(func(v *Values) *int64 { return &v.Proxy.GID })},
		{key: "proxy-additional-env", want: `a JSON list such as [{"name":"A","value":"b"}], no name beginning with TULLE_`,
			admin: true,
			field: field{get: additionalEnv, set: addEnv}},
	}
}

func resourceAnnotations() []annotation {
	quantity := func(key string, at func(*Resources) *string) annotation {
		at2 := func(v *Values) *string { return at(&v.Proxy.Resources) }
		return annotation{key: key, want: "a Kubernetes quantity such as 100m or 64Mi", field: text(at2, checkQuantity)}
	}
	return []annotation{
		quantity("proxy-cpu-request", func(r *Resources) *string { return &r.CPU.Request }),
		quantity("proxy-cpu-limit", func(r *Resources) *string { return &r.CPU.Limit }),
		{key: "proxy-cpu-ratio-limit", want: "a share of the node's cores, more than 0 and at most 1", podOnly: true,
			field: ratio(func(v *Values) *float64 { return &v.Proxy.Resources.CPU.RatioLimit })},
		quantity("proxy-memory-request", func(r *Resources) *string { return &r.Memory.Request }),
		quantity("proxy-memory-limit", func(r *Resources) *string { return &r.Memory.Limit }),
		quantity("proxy-ephemeral-storage-request", func(r *Resources) *string { return &r.EphemeralStorage.Request }),
		quantity("proxy-ephemeral-storage-limit", func(r *Resources) *string { return &r.EphemeralStorage.Limit }),
	}
}

func trafficAnnotations() []annotation {
	const wantPorts = "ports and ranges such as 25,6379,9000-9010"
	port := func(key string, at func(*Ports) *uint16) annotation {
		return annotation{key: key, want: "a port from 1 to 65535",
			field: port(func(v *Values) *uint16 { return at(&v.Proxy.Ports) })}
	}
	return []annotation{
		port("inbound-port", func(p *Ports) *uint16 { return &p.Inbound }),
		port("outbound-port", func(p *Ports) *uint16 { return &p.Outbound }),
		port("admin-port", func(p *Ports) *uint16 { return &p.Admin }),
		port("control-port", func(p *Ports) *uint16 { return &p.Control }),
		{key: "skip-inbound-ports", want: wantPorts,
			field: text(func(v *Values) *string { return &v.ProxyInit.IgnoreInboundPorts },
				checkSetting(mesh.SkipInboundPortsAnnotation))},
		{key: "skip-outbound-ports", want: wantPorts,
			field: text(func(v *Values) *string { return &v.ProxyInit.IgnoreOutboundPorts }, checkPorts)},
		{key: "skip-subnets", want: "networks such as 10.0.0.0/8,fd00::/8",
			field: text(func(v *Values) *string { return &v.ProxyInit.SkipSubnets }, checkSubnets)},
		{key: "opaque-ports", want: "ports, ranges and container port names such as 25,6379,9000-9010,redis",
			field: text(func(v *Values) *string { return &v.Proxy.OpaquePorts },
				checkSetting(mesh.OpaquePortsAnnotation))},
		{key: "default-inbound-policy", want: "one of " + policyNames(),
			field: field{
				get: func(v *Values) string { return string(v.Proxy.DefaultInboundPolicy) },
				set: func(v *Values, s string) error {
					var read mesh.Settings
					err := read.Set(mesh.DefaultInboundPolicyAnnotation, s, nil)
					v.Proxy.DefaultInboundPolicy = read.Policy
					return err
				},
			}},
		{key: "proxy-require-identity-inbound-ports", want: wantPorts,
			field: text(func(v *Values) *string { return &v.Proxy.RequireIdentityOnInboundPorts },
				checkSetting(mesh.RequireIdentityPortsAnnotation))},
		{key: "max-header-list-size", want: "a Kubernetes quantity of bytes from 8Ki to 1Mi", own: true,
			field: field{
				get: func(v *Values) string { return cmp.Or(v.Proxy.MaxHeaderListSize, "64Ki") },
				set: func(v *Values, s string) error { v.Proxy.MaxHeaderListSize = s; return checkHeaderListSize(s) },
			}},
	}
}

func observeAnnotations() []annotation {
	return []annotation{
		{key: "proxy-log-level", want: "error, warn, info or debug, or directives such as warn,linkerd=info",
			field: field{
				get: func(v *Values) string { return v.Proxy.LogLevel },
				set: func(v *Values, s string) (err error) { v.Proxy.LogLevel, err = parseLogLevel(s); return },
			}},
		{key: "proxy-log-format", want: "plain or json",
			field: enum(func(v *Values) *string { return &v.Proxy.LogFormat }, "plain", "json")},
		{key: "access-log", want: "apache, json or off",
			field: enum(func(v *Values) *string { return &v.Proxy.AccessLog }, "apache", "json", "off")},
		{key: "tap", want: "auto, true, false, enabled or disabled", own: true,
			field: field{
				get: func(v *Values) string { return string(v.Proxy.Tap.Enabled) },
				set: func(v *Values, s string) error { return v.Proxy.Tap.set(s) },
			}},
		{key: "tap-redacted-headers", want: "names of headers such as x-api-key,x-token", own: true,
			field: field{
				get: func(v *Values) string { return v.Proxy.Tap.RedactedHeaders },
				set: func(v *Values, s string) error { return v.Proxy.Tap.redactHeaders(s) },
			}},
		{key: "tap-redacted-parameters", want: "names of query parameters such as card,email, or * for all", own: true,
			field: field{
				get: func(v *Values) string { return v.Proxy.Tap.RedactedParameters },
				set: func(v *Values, s string) error { return v.Proxy.Tap.redactParameters(s) },
			}},
	}
}

var (
	headerName    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]*$`)
	parameterName = regexp.MustCompile(`^(\*|[A-Za-z0-9_][A-Za-z0-9_.~\[\]-]*)$`)
)

// set sets whether the workload may watch.
func (t *TapValues) set(text string) error {
	mode, ok := tapModes[text]
	if !ok {
		return errNotAccepted
	}
	t.Enabled = mode
	return nil
}

// redactHeaders adds headers to those whose values are not shown: an annotation cannot take away from the
// installation's.
func (t *TapValues) redactHeaders(list string) (err error) {
	t.RedactedHeaders, err = union(t.RedactedHeaders, list, headerName)
	return err
}

// redactParameters does the same for query parameters. An empty list means all of them.
func (t *TapValues) redactParameters(list string) (err error) {
	t.RedactedParameters, err = union(cmp.Or(t.RedactedParameters, "*"), list, parameterName)
	return err
}

// parameters returns the query parameters whose values are not shown; none means all.
func (t *TapValues) parameters() []string {
	names := listOf(t.RedactedParameters)
	if slices.Contains(names, "*") {
		return nil
	}
	return names
}

// union adds the names of a list that another does not have.
func union(to, list string, valid *regexp.Regexp) (string, error) {
	names := listOf(to)
	for _, name := range listOf(list) {
		if !valid.MatchString(name) {
			return to, errNotAccepted
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return strings.Join(names, ","), nil
}

// listOf splits a list at its commas, without the space around the parts.
func listOf(text string) (out []string) {
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

func lifecycleAnnotations() []annotation {
	const wantDuration = "a duration such as 500ms, 5s or 1m30s"
	duration := func(key string, at func(*ProxyValues) *mesh.Duration) annotation {
		return annotation{key: key, want: wantDuration,
			field: duration(func(v *Values) *mesh.Duration { return at(&v.Proxy) })}
	}
	truth := func(key string, at func(*ProxyValues) *bool) annotation {
		return annotation{key: key, want: "true, false, enabled or disabled",
			field: truth(func(v *Values) *bool { return at(&v.Proxy) })}
	}
	return []annotation{
		truth("proxy-enable-native-sidecar", func(p *ProxyValues) *bool { return &p.NativeSidecar }),
		truth("proxy-await", func(p *ProxyValues) *bool { return &p.Await }),
		truth("proxy-admin-shutdown", func(p *ProxyValues) *bool { return &p.EnableShutdown }),
		duration("shutdown-grace-period", func(p *ProxyValues) *mesh.Duration { return &p.ShutdownGrace }),
		{key: "proxy-wait-before-exit-seconds", want: "a number of seconds",
			field: seconds(func(v *Values) *uint32 { return &v.Proxy.WaitBeforeExitSeconds })},
		duration("proxy-outbound-connect-timeout", func(p *ProxyValues) *mesh.Duration { return &p.OutboundConnectTimeout }),
		duration("proxy-inbound-connect-timeout", func(p *ProxyValues) *mesh.Duration { return &p.InboundConnectTimeout }),
		duration("proxy-outbound-discovery-cache-unused-timeout",
			func(p *ProxyValues) *mesh.Duration { return &p.OutboundDiscoveryIdle }),
		duration("proxy-inbound-discovery-cache-unused-timeout",
			func(p *ProxyValues) *mesh.Duration { return &p.InboundDiscoveryIdle }),
		truth("proxy-disable-outbound-protocol-detect-timeout",
			func(p *ProxyValues) *bool { return &p.DisableOutboundDetectTimeout }),
		truth("proxy-disable-inbound-protocol-detect-timeout",
			func(p *ProxyValues) *bool { return &p.DisableInboundDetectTimeout }),
	}
}

func text(at func(*Values) *string, check func(string) error) field {
	return field{
		get: func(v *Values) string { return *at(v) },
		set: func(v *Values, s string) error { *at(v) = s; return check(s) },
	}
}

func enum(at func(*Values) *string, accepted ...string) field {
	return text(at, func(s string) error {
		if !slices.Contains(accepted, s) {
			return errNotAccepted
		}
		return nil
	})
}

func number(at func(*Values) *int64) field {
	return field{
		get: func(v *Values) string {
			if *at(v) <= 0 {
				return ""
			}
			return strconv.FormatInt(*at(v), 10)
		},
		set: func(v *Values, s string) error {
			n, err := strconv.ParseUint(s, 10, 32)
			if err == nil && (n == 0 || n == 1<<32-1) { // root, and the value that means "no user" to the kernel
				err = errNotAccepted
			}
			*at(v) = int64(n)
			return err
		},
	}
}

func port(at func(*Values) *uint16) field {
	return field{
		get: func(v *Values) string { return strconv.Itoa(int(*at(v))) },
		set: func(v *Values, s string) error {
			n, err := strconv.ParseUint(s, 10, 16)
			if err == nil && n == 0 {
				err = errNotAccepted
			}
			*at(v) = uint16(n)
			return err
		},
	}
}

func seconds(at func(*Values) *uint32) field {
	return field{
		get: func(v *Values) string { return strconv.Itoa(int(*at(v))) },
		set: func(v *Values, s string) error {
			n, err := strconv.ParseUint(s, 10, 31)
			*at(v) = uint32(n)
			return err
		},
	}
}

func ratio(at func(*Values) *float64) field {
	return field{
		get: func(v *Values) string {
			if *at(v) == 0 {
				return ""
			}
			return strconv.FormatFloat(*at(v), 'g', -1, 64)
		},
		set: func(v *Values, s string) error {
			x, err := strconv.ParseFloat(s, 64)
			if err == nil && !(x > 0 && x <= 1) { // written so that NaN is refused
				err = errNotAccepted
			}
			*at(v) = x
			return err
		},
	}
}

func duration(at func(*Values) *mesh.Duration) field {
	return field{
		get: func(v *Values) string { text, _ := at(v).MarshalText(); return string(text) },
		set: func(v *Values, s string) error { return at(v).UnmarshalText([]byte(s)) },
	}
}

func truth(at func(*Values) *bool) field {
	return field{
		get: func(v *Values) string { return strconv.FormatBool(*at(v)) },
		set: func(v *Values, s string) error {
			switch s {
			case "true", "enabled":
				*at(v) = true
			case "false", "disabled":
				*at(v) = false
			default:
				return errNotAccepted
			}
			return nil
		},
	}
}

// errNotAccepted is the cause where "want ..." says all there is to say.
var errNotAccepted = errors.New("not accepted")

var (
	imageName    = regexp.MustCompile(`^[a-z0-9]+([._-]+[a-z0-9]+)*(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*$`)
	imageVersion = regexp.MustCompile(`^(sha256:[0-9a-f]{64}|[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})$`)
)

func checkImageName(s string) error {
	// host:port is only a host where a path follows; otherwise the part after the colon is a tag.
	if !imageName.MatchString(s) || strings.Contains(s[strings.LastIndexByte(s, '/')+1:], ":") {
		return errNotAccepted
	}
	return nil
}

func checkImageVersion(s string) error {
	if !imageVersion.MatchString(s) {
		return errNotAccepted
	}
	return nil
}

func checkHeaderListSize(s string) error {
	if n := bytesOf(s); n < mesh.LeastHeaderListBytes || n > mesh.MostHeaderListBytes {
		return errNotAccepted
	}
	return nil
}

// bytesOf reads a Kubernetes quantity of bytes; 0 is none, and what is not a whole number.
func bytesOf(s string) int {
	q, err := resource.ParseQuantity(s)
	if err != nil {
		return 0
	}
	n, whole := q.AsInt64()
	if !whole {
		return 0
	}
	return int(n)
}

func checkPorts(s string) error {
	_, err := mesh.ParsePortSet(s, nil)
	return err
}

// checkSetting accepts what the destination controller accepts, which reads the annotation too. Opaque ports may have
// any well-formed name: which ports it stands for is known where the containers are, see DeclaredPorts.
func checkSetting(annotation string) func(value string) error {
	return func(value string) error { return new(mesh.Settings).Set(annotation, value, nil) }
}

func checkSubnets(s string) error {
	_, err := parseSubnets(s)
	return err
}

func parseSubnets(s string) ([]netip.Prefix, error) {
	var subnets []netip.Prefix
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		p, err := netip.ParsePrefix(part)
		if err != nil {
			return nil, err
		}
		subnets = append(subnets, p.Masked())
	}
	return subnets, nil
}

func policyNames() string {
	names := make([]string, len(mesh.AccessPolicies))
	for i, p := range mesh.AccessPolicies {
		names[i] = string(p)
	}
	return strings.Join(names, ", ")
}

// parseLogLevel reads a level or Linkerd's list of directives ("warn,linkerd=info,hickory=error") as one level: the one
// for the mesh's own code if there is one, else the general one. Levels that Tulle's logger does not have become the
// nearest it has.
func parseLogLevel(s string) (string, error) {
	var general, own string
	for directive := range strings.SplitSeq(s, ",") {
		target, level, ok := strings.Cut(strings.TrimSpace(directive), "=")
		if !ok {
			target, level = "", target
		}
		switch level = strings.ToLower(level); level {
		case "error", "warn", "info", "debug":
		case "trace":
			level = "debug"
		case "off":
			level = "error"
		default:
			return "", fmt.Errorf("%q is not a level", level)
		}
		switch target {
		case "":
			general = level
		case "linkerd", "linkerd2_proxy", "tulle":
			own = level
		}
	}
	if own == "" {
		own = general
	}
	if own == "" {
		return "", errNotAccepted
	}
	return own, nil
}

func additionalEnv(v *Values) string {
	if len(v.Proxy.AdditionalEnv) == 0 {
		return ""
	}
	text, _ := json.Marshal(v.Proxy.AdditionalEnv)
	return string(text)
}

// addEnv adds to what is there; a name that is there already gets the new value. The list is copied: Values share
// arrays.
func addEnv(v *Values, s string) error {
	var vars []EnvVar
	dec := json.NewDecoder(strings.NewReader(s))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&vars); err != nil {
		return err
	}
	merged := slices.Clone(v.Proxy.AdditionalEnv)
	for _, e := range vars {
		if len(validation.IsEnvVarName(e.Name)) > 0 || strings.HasPrefix(e.Name, "TULLE_") {
			return fmt.Errorf("variable %q: %w", e.Name, errNotAccepted)
		}
		if i := slices.IndexFunc(merged, func(m EnvVar) bool { return m.Name == e.Name }); i >= 0 {
			merged[i] = e
			continue
		}
		merged = append(merged, e)
	}
	v.Proxy.AdditionalEnv = merged
	return nil
}
