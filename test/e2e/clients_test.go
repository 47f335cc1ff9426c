package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Real clients and their servers are in two namespaces, so that each call can be compared with the same call without
// the mesh.
const (
	clientsNS     = "clients"       // annotated
	clientsBareNS = "clients-plain" // not annotated
)

// path says where a client and its server are.
type path struct{ name, client, server string }

// paths begin with the one without the mesh: what holds there must hold on the others.
var paths = []path{
	{"without the mesh", clientsBareNS, clientsBareNS},
	{"both meshed", clientsNS, clientsNS},
	{"server meshed", clientsBareNS, clientsNS},
	{"client meshed", clientsNS, clientsBareNS},
}

func (p path) meshed() bool { return p.client == clientsNS || p.server == clientsNS }

// host is the host of a Service beside the path's server.
func (p path) host(service string) string { return service + "." + p.server }

// enter runs a command in a client's pod and returns its standard output, also when it failed.
func (p path) enter(pod string, command ...string) (string, error) {
	out, err := kubectl(append([]string{"-n", p.client, "exec", "deploy/" + pod, "-c", "app", "--"}, command...)...)
	return string(out), err
}

// outcomes runs a client that prints what became of its cases as JSON.
func (p path) outcomes(pod string, command ...string) (map[string]string, error) {
	out, err := p.enter(pod, command...)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	var got map[string]string
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		return nil, fmt.Errorf("decode %q: %w", out, err)
	}
	return got, nil
}

// compare reports each case that did not end as it should. In want, HOST is the server's host.
func (p path) compare(t *testing.T, got, want map[string]string) {
	t.Helper()
	for name, outcome := range want {
		if w := strings.ReplaceAll(outcome, "HOST", p.host("server")); got[name] != w {
			t.Errorf("%s: got %q, want %q", name, got[name], w)
		}
	}
	if len(got) != len(want) {
		t.Errorf("got %d cases, want %d: %v", len(got), len(want), got)
	}
}

// needClients deploys the clients and the servers with the first test that needs them.
func needClients(t *testing.T) {
	t.Helper()
	if err := deployClients(); err != nil {
		t.Fatal(err)
	}
}

var deployClients = sync.OnceValue(func() error {
	if os.Getenv("E2E_CLIENT_IMAGES") == "" {
		return errors.New("E2E_CLIENT_IMAGES is not set: run `make e2e`, which builds the images")
	}
	scripts, err := filepath.Glob("testdata/clients/*")
	if err != nil {
		return err
	}
	create := []string{"create", "configmap", "clients", "--dry-run=client", "-o", "json"}
	for _, script := range scripts {
		create = append(create, "--from-file="+script)
	}
	configMap, err := kubectl(create...)
	if err != nil {
		return err
	}
	for _, ns := range []string{clientsNS, clientsBareNS} {
		inject := "disabled"
		if ns == clientsNS {
			inject = "enabled"
		}
		namespace := fmt.Sprintf(
			"apiVersion: v1\nkind: Namespace\nmetadata: {name: %s, annotations: {linkerd.io/inject: %s}}\n", ns, inject)
		if _, err := kubectlIn([]byte(namespace), "apply", "-f", "-"); err != nil {
			return err
		}
		if _, err := kubectlIn(configMap, "-n", ns, "apply", "-f", "-"); err != nil {
			return err
		}
		if _, err := kubectlIn([]byte(clientPods()), "-n", ns, "apply", "-f", "-"); err != nil {
			return err
		}
	}
	for _, ns := range []string{clientsNS, clientsBareNS} {
		if _, err := kubectl("-n", ns, "rollout", "status", "deployment", "--timeout=180s"); err != nil {
			return err
		}
	}
	return nil
})

// clientImage returns the full name of an image that `make e2e` built from Debian's packages.
func clientImage(name string) string {
	for _, image := range strings.Fields(os.Getenv("E2E_CLIENT_IMAGES")) {
		if strings.Contains(image, "/e2e-"+name+":") {
			return image
		}
	}
	panic("E2E_CLIENT_IMAGES has no e2e-" + name)
}

// clientPods are a pod for each client, and the servers and forward proxies that they call.
func clientPods() string {
	var all strings.Builder
	for _, c := range []struct{ name, image, command, port string }{
		{"grpc-go", env.appImage, `[/app, sleep]`, ""},
		{"grpcio", clientImage("grpcio"), `[/bin/sleep, infinity]`, ""},
		{"jdk", clientImage("jdk"), `[/bin/sleep, infinity]`, ""},
		{"node", clientImage("node"), `[/bin/sleep, infinity]`, ""},
		{"curl", clientImage("curl"), `[/bin/sleep, infinity]`, ""},
		{"h2load", clientImage("curl"), `[/bin/sleep, infinity]`, ""},
		{"server", env.appImage, `[/app, origin]`, "8080"},
		{"grpcio-server", clientImage("grpcio"), `[python3, /clients/calls.py, serve]`, "9090"},
		{"grpc-java-server", clientImage("jdk"), `[java, -cp, "/usr/share/java/*", /clients/Calls.java]`, "9090"},
		{"forward", env.appImage, `[/app, forward]`, "3128"},
		{"tinyproxy", clientImage("tinyproxy"), `[/usr/bin/tinyproxy, -d, -c, /clients/tinyproxy.conf]`, "8888"},
	} {
		probe := ""
		if c.port != "" {
			probe = fmt.Sprintf("\n        readinessProbe: {tcpSocket: {port: %s}, periodSeconds: 1}", c.port)
		}
		fmt.Fprintf(&all, `---
apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s}
spec:
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata:
      labels: {app: %[1]s}
      annotations: {mesh-version: "%[2]s"}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: app
        image: %[3]s
        imagePullPolicy: IfNotPresent
        command: %[4]s
        volumeMounts: [{name: clients, mountPath: /clients}, {name: tmp, mountPath: /tmp}]%[5]s
      volumes:
      - {name: clients, configMap: {name: clients}}
      - {name: tmp, emptyDir: {}}
`, c.name, env.version, c.image, c.command, probe)
	}
	all.WriteString(clientServices)
	return all.String()
}

const clientServices = `---
apiVersion: v1
kind: Service
metadata: {name: server}
spec:
  selector: {app: server}
  ports:
  - {name: http, port: 80, targetPort: 8080}
  - {name: https, port: 443, targetPort: 8443}
  - {name: grpc, port: 9090}
  - {name: resets, port: 9091}
  - {name: early, port: 7413}
  - {name: h2-limit-1, port: 8201}
  - {name: h2-limit-2, port: 8202}
  - {name: h2-limit-100, port: 8300}
  - {name: grpc-limit-1, port: 8401}
  - {name: grpc-limit-2, port: 8402}
  - {name: grpc-limit-100, port: 8500}
---
apiVersion: v1
kind: Service
metadata: {name: grpcio-server}
spec: {selector: {app: grpcio-server}, ports: [{name: grpc, port: 9090}]}
---
apiVersion: v1
kind: Service
metadata: {name: grpc-java-server}
spec: {selector: {app: grpc-java-server}, ports: [{name: grpc, port: 9090}]}
---
apiVersion: v1
kind: Service
metadata: {name: forward}
spec: {selector: {app: forward}, ports: [{name: proxy, port: 3128}]}
---
apiVersion: v1
kind: Service
metadata: {name: tinyproxy}
spec: {selector: {app: tinyproxy}, ports: [{name: proxy, port: 8888}]}
`
