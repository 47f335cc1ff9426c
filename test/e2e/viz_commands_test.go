package e2e

import (
	"bufio"
	"context"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	// vizRate is how many requests a second orders sends to payments.
	vizRate = 20
	// monitoringNS and securedNS have each a Prometheus that is not the extension's. The second speaks TLS.
	monitoringNS = "monitoring"
	securedNS    = "monitoring-tls"
)

// Time windows: the shortest, for which reading the proxies takes as long, and one that has always two samples of a
// Prometheus that reads them every 10 s.
const (
	scraped = "15s"
	stored  = "30s"
)

// vizCommand is a command, and what its output has: a pattern for each line that it must have.
type vizCommand struct {
	args string
	want []string
	says string // on stderr, whatever the source; "" is what the source says
}

// Columns of the commands.
const (
	statColumns  = ` +SUCCESS +RPS +LATENCY_P50 +LATENCY_P95 +LATENCY_P99`
	goldenCells  = ` +100\.00% +(1[89]|2[012])\.\drps +\d+ms +\d+ms +\d+ms`
	anyCells     = ` +100\.00% +\d+\.\drps +\d+ms +\d+ms +\d+ms`
	vizRateInKey = `"rps": (1[89]|2[012])\b`
)

// vizCommands are every command that shows numbers or edges, with the time window of --time-window still to be added.
var vizCommands = []vizCommand{
	{args: "stat deploy -n production", want: []string{`^NAME +MESHED` + statColumns + ` +TCP_CONN$`,
		`^orders +1/1 `, `^payments +1/1` + goldenCells + ` +\d+$`}},
	{args: "stat deploy/payments -n production --from deploy/orders -o wide", want: []string{
		`^NAME +MESHED` + statColumns + ` +TCP_CONN +READ_BYTES/SEC +WRITE_BYTES/SEC$`,
		`^payments +1/1` + goldenCells + ` +\d+ +[1-9][\d.]*B/s +[1-9][\d.]*B/s$`}},
	{args: "stat deploy/orders -n production --to deploy/payments -o json",
		want: []string{`"name": "orders"`, vizRateInKey,
			`"success": 1\b`, `"meshed": "1/1"`, `"latency_ms_p99": \d`, `"tcp_open_connections": \d`}},
	{args: "stat ns -A", want: []string{`^NAME +MESHED` + statColumns, `^production +2/2 +100\.00%`}},
	{args: "stat po -n production", want: []string{`^NAME +STATUS +MESHED` + statColumns, `^payments-\S+ +Running +1/1` +
		goldenCells}},
	{args: "stat svc -n production", want: []string{`^NAME +MESHED` + statColumns + ` +TCP_CONN$`, `^payments +-` +
		goldenCells}},
	{args: "stat au -n production", want: []string{`^payments\.production\S* +-` + goldenCells}},
	{args: "stat srv -n production", want: []string{`^NAME +UNAUTHORIZED` + statColumns, `^payments-http +0\.0rps` +
		anyCells}},
	{args: "stat authorizationpolicies -n production", want: []string{`^orders-only +-` + goldenCells}},
	{args: "stat httproutes -n production", want: []string{`^charge +0\.0rps` + goldenCells}},
	{args: "stat all -n production", want: []string{`^deploy/payments `, `^po/payments-`, `^svc/payments `,
		`^srv/payments-http `}},
	{args: "stat-inbound deploy/payments -n production", want: []string{`^NAME +SERVER +ROUTE +TYPE` + statColumns,
		`^payments +payments-http:8080 +\[default\] +` + goldenCells}},
	{args: "stat-outbound deploy/orders -n production", want: []string{
		`^NAME +SERVICE +ROUTE +TYPE +BACKEND` + statColumns + ` +TIMEOUTS +RETRIES$`,
		`^orders +payments:8080 +charge +HTTPRoute` + goldenCells + ` +0\.00% +0\.00%$`,
		`└─+ +─+► +payments:8080` + goldenCells}},
	{args: "routes svc/payments -n production",
		want: []string{`^ROUTE +SERVICE` + statColumns, `^charge +payments` + goldenCells}},
	{args: "routes deploy/orders -n production --to deploy/payments", want: []string{`^ROUTE +SERVICE` + statColumns,
		`^charge +payments` + goldenCells}},
	{args: "authz deploy/payments -n production",
		want: []string{`^ROUTE +SERVER +AUTHORIZATION +UNAUTHORIZED` + statColumns,
			`^default +payments-http +authorizationpolicy/orders-only +0\.0rps` + goldenCells}},
	{args: "edges deployment -n production -o wide",
		want: []string{`^SRC +DST +SRC_NS +DST_NS +CLIENT_ID +SERVER_ID +SECURED$`,
			`^orders +payments +production +production +orders\.production +payments\.production +√$`}},
	{args: "stat --proxy-version-mismatch -n production", says: "No proxy of another version than"},
	{args: "edges po -n production -o json",
		want: []string{`"src": "orders-`, `"dst": "payments-`, `"no_tls_reason": ""`}},
}

// vizList needs no source of numbers.
var vizList = vizCommand{args: "list -n production", want: []string{`^Pods with tap `, `^\s+\* production/orders-`,
	`^\s+\* production/payments-`}}

// TestVizCommands runs every command of viz against each source of numbers: the proxies themselves, the extension with
// its Prometheus, the extension while its Prometheus is away, and the extension with a Prometheus of somebody else.
func TestVizCommands(t *testing.T) {
	stop := serveProduction(t)
	defer stop()
	manifests := vizManifests(t)
	t.Cleanup(func() {
		mustKubectl(t, "delete", "namespace", monitoringNS, securedNS, "--ignore-not-found", "--wait=false")
	})
	cert, key := selfSigned(t, securedNS, "prometheus."+securedNS)
	for _, other := range [][]byte{elsewhere(manifests, monitoringNS, nil, nil),
		elsewhere(manifests, securedNS, cert, key)} {
		if _, err := kubectlIn(other, "apply", "-f", "-"); err != nil {
			t.Fatal(err)
		}
	}
	some := []vizCommand{vizCommands[0], vizCommands[len(vizCommands)-1]}
	t.Run("without the extension", func(t *testing.T) {
		runVizCommands(t, []vizCommand{vizList}, scraped, "")
		runVizCommands(t, vizCommands, scraped, "The viz extension is not installed")
	})

	t.Cleanup(func() { uninstallViz(t) })
	applyViz(t, manifests)
	t.Run("with its Prometheus", func(t *testing.T) {
		awaitPrometheus(t)
		runVizCommands(t, vizCommands, stored, "")
	})
	t.Run("tap", testTapOfPayments)
	t.Run("while it is away", func(t *testing.T) {
		mustKubectl(t, "-n", vizNS, "scale", "deployment/prometheus", "--replicas=0")
		mustKubectl(t, "-n", vizNS, "wait", "--for=delete", "pod", "-l", "component=prometheus", "--timeout=60s")
		runVizCommands(t, some, scraped, "Prometheus at http://")
	})
	t.Run("with another Prometheus", func(t *testing.T) {
		applyViz(t, vizManifests(t, "--set", "prometheus.enabled=false,prometheusUrl=http://prometheus."+monitoringNS+":9090"))
		awaitPrometheus(t)
		runVizCommands(t, vizCommands, stored, "")
	})
	t.Run("with another Prometheus that wants TLS and a token", func(t *testing.T) {
		mustKubectl(t, "-n", vizNS, "create", "secret", "generic", "other", "--from-literal=token=secret",
			"--from-literal=ca.crt="+string(cert))
		applyViz(t, vizManifests(t, "--set", "prometheus.enabled=false,prometheusUrl=https://prometheus."+securedNS+":9090",
			"--set", "prometheusSecret.name=other,prometheusSecret.tokenKey=token,prometheusSecret.caKey=ca.crt"))
		awaitPrometheus(t)
		runVizCommands(t, some, stored, "")
	})
}

// serveProduction deploys orders and payments. Until the returned function is called, orders calls payments.
func serveProduction(t *testing.T) (stop func()) {
	t.Helper()
	mustKubectl(t, "delete", "namespace", tutorialNS, "--ignore-not-found") // of an earlier test
	t.Cleanup(func() { mustKubectl(t, "delete", "namespace", tutorialNS, "--ignore-not-found", "--wait=false") })
	orders := client{tutorialNS, "orders"}
	all := string(manifest("viz.yaml")) + deployment(orders, 0, "", "") +
		deployment(client{tutorialNS, "payments"}, 1, "", "")
	if _, err := kubectlIn([]byte(all), "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	mustKubectl(t, "-n", tutorialNS, "rollout", "status", "deployment", "--timeout=120s")
	call := []tableCall{{How: "h1", Addr: "payments." + tutorialNS + ":8080", Target: "/charge"}}
	awaitAnswers(t, orders, call, "200")
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		// Until it is ended, or its namespace is.
		_ = command(ctx, env.kubectl, "-n", tutorialNS, "exec", "deploy/orders", "-c", "app", "--", "/app", "load", "-url",
			"http://payments."+tutorialNS+":8080/charge", "-rate", fmt.Sprint(vizRate), "-count",
			fmt.Sprint(600*vizRate)).Run()
	})
	return func() {
		cancel()
		wg.Wait()
	}
}

func vizManifests(t *testing.T, flags ...string) []byte {
	t.Helper()
	manifests, err := run(time.Minute, nil, env.tulle, append([]string{"viz", "install"}, flags...)...)
	if err != nil {
		t.Fatal(err)
	}
	return manifests
}

// applyViz applies the manifests, removes what they no longer have, and waits until the extension is ready.
func applyViz(t *testing.T, manifests []byte) {
	t.Helper()
	if _, err := kubectlIn(manifests, "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	old, err := run(time.Minute, nil, env.tulle, "viz", "prune")
	if err == nil && len(old) > 0 {
		_, err = kubectlIn(old, "delete", "-f", "-")
	}
	if err != nil {
		t.Fatal(err)
	}
	mustKubectl(t, "-n", vizNS, "rollout", "status", "deployment", "--timeout=120s")
	if out, err := run(3*time.Minute, nil, env.tulle, "viz", "check", "--wait=2m"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// elsewhere makes of the extension's manifests a Prometheus in another namespace, without a proxy and policies. Given a
// certificate, it speaks TLS alone.
func elsewhere(manifests []byte, namespace string, cert, key []byte) []byte {
	out := []string{"apiVersion: v1\nkind: Namespace\nmetadata: {name: " + namespace + "}\n"}
	policy := regexp.MustCompile(`(?m)^kind: (Server|AuthorizationPolicy)$`)
	for _, document := range strings.Split(string(manifests), "\n---\n") {
		if strings.Contains(document, "component: prometheus") && !policy.MatchString(document) {
			out = append(out, document)
		}
	}
	text := strings.NewReplacer("namespace: "+vizNS, "namespace: "+namespace, "linkerd.io/extension: viz", "app: "+
		namespace,
		"inject: enabled", "inject: disabled", "name: tulle-viz-", "name: "+namespace+
			"-").Replace(strings.Join(out, "\n---\n"))
	if cert == nil {
		return []byte(text)
	}
	files := fmt.Sprintf("\ndata:\n  tls.crt: %q\n  tls.key: %q\n  web.yml: %q\n", cert, key,
		"tls_server_config: {cert_file: tls.crt, key_file: tls.key}\n")
	return []byte(strings.NewReplacer("\ndata:\n", files, "port: http}", "port: http, scheme: HTTPS}",
		"- \"--log.level=info\"", "- \"--web.config.file=/etc/prometheus/web.yml\"").Replace(text))
}

// awaitPrometheus waits until a Prometheus has read the proxies of payments and of orders for a whole window: it reads
// each at a time of its own.
func awaitPrometheus(t *testing.T) {
	t.Helper()
	seen := regexp.MustCompile(vizRateInKey)
	eventually(t, time.Minute, func() error {
		for _, args := range []string{"stat deploy/payments", "stat deploy/orders --to deploy/payments"} {
			out, stderr := viz(t.Context(), t, append(strings.Fields(args), "-n", tutorialNS, "-t", stored, "-o", "json")...)
			if stderr != "" || !seen.Match(out) {
				return fmt.Errorf("viz %s: stdout %s, stderr %s", args, out, stderr)
			}
		}
		return nil
	})
}

// runVizCommands runs commands at once, because many of them wait for a time window, and looks at what they print. Each
// that shows numbers names the source of them on stderr, unless it is a Prometheus.
func runVizCommands(t *testing.T, commands []vizCommand, window, source string) {
	t.Helper()
	type printed struct {
		stdout, stderr string
		err            error
	}
	results := make([]printed, len(commands))
	var wg sync.WaitGroup
	slots := make(chan struct{}, 10)
	for i, c := range commands {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			args := append([]string{"viz"}, strings.Fields(c.args)...)
			if regexp.MustCompile(`^(stat|routes|authz)`).MatchString(c.args) {
				args = append(args, "-t", window)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			var stdout, stderr strings.Builder
			cmd := command(ctx, env.tulle, args...)
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			err := cmd.Run()
			results[i] = printed{stdout.String(), stderr.String(), err}
		})
	}
	wg.Wait()
	for i, c := range commands {
		t.Run(c.args, func(t *testing.T) {
			got := results[i]
			if got.err != nil {
				t.Fatalf("%v: %s", got.err, got.stderr)
			}
			for _, want := range c.want {
				if !regexp.MustCompile(`(?m)` + want).MatchString(got.stdout) {
					t.Errorf("no line of the output matches %s:\n%s%s", want, got.stdout, got.stderr)
				}
			}
			said := source
			if c.says != "" {
				said = c.says
			}
			if !strings.Contains(got.stderr, said) || said == "" && got.stderr != "" {
				t.Errorf("stderr is %q, want %q", got.stderr, said)
			}
		})
	}
}

// testTapOfPayments watches the calls of one path until one of them has all its events.
func testTapOfPayments(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := command(ctx, env.tulle, strings.Fields(
		"viz tap deploy/orders -n production --to deploy/payments --path /charge")...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	wanted := []*regexp.Regexp{regexp.MustCompile(`^req id=\S+ proxy=out .* tls=true .*:method=GET .*:path=/charge`),
		regexp.MustCompile(`^rsp id=\S+ proxy=out .*:status=200`), regexp.MustCompile(`^end id=\S+ proxy=out `)}
	var text strings.Builder
	lines := bufio.NewScanner(out)
	for len(wanted) > 0 && lines.Scan() {
		text.WriteString(lines.Text() + "\n")
		if wanted[0].MatchString(lines.Text()) {
			wanted = wanted[1:]
		}
	}
	cancel()
	_ = cmd.Wait() // it was ended
	if len(wanted) > 0 {
		t.Errorf("no line like %v in\n%s%s", wanted[0], text.String(), stderr.String())
	}
}
