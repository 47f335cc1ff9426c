package viz

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"strconv"
	"strings"
	"testing"
)

// opened is a dashboard that runs.
type opened struct {
	lines   *bufio.Scanner
	opens   chan string
	stop    context.CancelFunc
	results chan result
}

// dashboard runs `viz dashboard` until stop, or the end of the test.
func dashboard(t *testing.T, fault error, args ...string) *opened {
	t.Helper()
	out, in := io.Pipe()
	o := &opened{lines: bufio.NewScanner(out), opens: make(chan string, 1), results: make(chan result, 1)}
	b := shop(t)
	b.stdout, b.browser = in, func(address string) error {
		o.opens <- address
		return fault
	}
	ctx, stop := context.WithCancel(t.Context())
	o.stop = stop
	go func() {
		r := b.runIn(ctx, t, "shop", append([]string{"dashboard"}, args...)...)
		_ = in.Close() // it always returns nil
		o.results <- r
	}()
	t.Cleanup(func() {
		stop()
		for o.lines.Scan() { // what is left
		}
	})
	return o
}

// line returns the next line of the output.
func (o *opened) line(t *testing.T) string {
	t.Helper()
	if !o.lines.Scan() {
		t.Fatalf("the output ended: %+v", <-o.results)
	}
	return o.lines.Text()
}

// takenPort returns a port that is taken, and the listener that has it.
func takenPort(t *testing.T) (port string, l net.Listener) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() }) // it may be closed
	_, port, err = net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port, l
}

// TestDashboard walks from the command to a page, and to its end.
func TestDashboard(t *testing.T) {
	o := dashboard(t, nil, "-p", "0", "--grafana-url", "https://grafana.example.com/g")
	if got := o.line(t); got != "Tulle dashboard available at:" {
		t.Errorf("line %q", got)
	}
	address := o.line(t)
	if !strings.HasPrefix(address, "http://localhost:") || !strings.Contains(address, "/?namespace=shop&token=") {
		t.Errorf("address %q", address)
	}
	for _, want := range []string{"Grafana dashboard available at:", "https://grafana.example.com/g",
		"Opening Tulle dashboard in the default browser"} {
		if got := o.line(t); got != want {
			t.Errorf("line %q, want %q", got, want)
		}
	}
	base, _, _ := strings.Cut(address, "?")
	if target := <-o.opens; target == address || !strings.HasPrefix(target, base+"?namespace=shop&token=") {
		t.Errorf("the browser got %q, which others can read, and the printed address is %q", target, address)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	browser := http.Client{Jar: jar, Transport: transport}
	fetches(t, &browser, address, "<!doctype html>")
	fetches(t, &browser, base+"api/page?page=overview", `"problems":`)
	fetches(t, &browser, base+"api/config", `"grafanaURL":"https://grafana.example.com/g"`)
	o.stop()
	if r := <-o.results; r.fault != nil {
		t.Errorf("the end: %v", r.fault)
	}
}

// fetches gets an address and looks for a text.
func fetches(t *testing.T, browser *http.Client, address, want string) {
	t.Helper()
	resp, err := browser.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(text), want) {
		t.Errorf("%s: status %d, error %v, want %q: %s", address, resp.StatusCode, err, want, text)
	}
}

// TestDashboardWithoutABrowser: the command goes on, and says what to do.
func TestDashboardWithoutABrowser(t *testing.T) {
	o := dashboard(t, errors.New("there is no screen"), "-p", "0")
	for range 3 { // the address, and that it is opened
		o.line(t)
	}
	<-o.opens
	o.stop()
	for o.lines.Scan() {
	}
	if r := <-o.results; r.fault != nil || !strings.Contains(r.err, "Visit the address above") {
		t.Errorf("error %v, stderr %q", r.fault, r.err)
	}
}

func TestDashboardShowsTheAddressOnly(t *testing.T) {
	o := dashboard(t, nil, "-p", "0", "--show", "url")
	o.line(t)
	o.line(t)
	o.stop()
	for o.lines.Scan() {
		t.Errorf("line %q", o.lines.Text())
	}
	if len(o.opens) > 0 {
		t.Errorf("the browser got %q", <-o.opens)
	}
}

func TestDashboardRefuses(t *testing.T) {
	port, _ := takenPort(t)
	for args, want := range map[string]string{
		"-p " + port:                     "port " + port + " of localhost is taken; give another one with --port",
		"--show jaeger":                  `--show "jaeger": want tulle, grafana or url`,
		"--show grafana":                 "--grafana-url",
		"--grafana-url javascript:x":     "--grafana-url",
		"--grafana-url https://a:b@c.de": "--grafana-url",
		"--trace-url c.de":               "--trace-url",
		"-p 65536":                       "--port 65536",
		"--address=":                     "--address",
		"--address 192.0.2.1":            "--address 192.0.2.1",
		"shop":                           `"shop": viz dashboard takes no arguments`,
	} {
		t.Run(args, func(t *testing.T) {
			o := dashboard(t, nil, strings.Fields(args)...)
			for o.lines.Scan() {
			}
			if r := <-o.results; r.fault == nil || !strings.Contains(r.fault.Error(), want) {
				t.Errorf("error %v, want %q", r.fault, want)
			}
		})
	}
}

// TestDashboardTakesAnotherPort: only a port that the user did not choose may be another one.
func TestDashboardTakesAnotherPort(t *testing.T) {
	port, l := takenPort(t)
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	var stderr strings.Builder
	c := &commands{Env: Env{Err: &stderr}}
	listeners, err := c.listen(dashboardFlags{address: localhost, port: number})
	if err != nil {
		t.Fatal(err)
	}
	for _, own := range listeners {
		if strings.HasSuffix(own.Addr().String(), ":"+port) {
			t.Errorf("listens at %s, which is taken", own.Addr())
		}
		if err := own.Close(); err != nil {
			t.Error(err)
		}
	}
	if !strings.Contains(stderr.String(), "Port "+port+" is taken") {
		t.Errorf("stderr %q", stderr.String())
	}
	// localhost is taken over IPv6 too: another program there would get what browsers mean for the dashboard.
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	six, err := net.Listen("tcp", net.JoinHostPort("::1", port))
	if err != nil {
		t.Skipf("no IPv6: %v", err)
	}
	defer six.Close()
	if _, err := c.listen(dashboardFlags{address: localhost, port: number, portGiven: true}); err == nil {
		t.Error("localhost is served beside another program at ::1")
	}
}

func TestDashboardHosts(t *testing.T) {
	for address, want := range map[string]string{
		"localhost": "localhost:80 localhost 127.0.0.1:80 127.0.0.1 [::1]:80 [::1] localhost:80 localhost",
		"0.0.0.0":   "localhost:80 localhost 127.0.0.1:80 127.0.0.1 [::1]:80 [::1]",
		"dev.test":  "localhost:80 localhost 127.0.0.1:80 127.0.0.1 [::1]:80 [::1] dev.test:80 dev.test",
	} {
		if got := strings.Join(hosts(address, "80"), " "); got != want {
			t.Errorf("%s: hosts %q, want %q", address, got, want)
		}
	}
}
