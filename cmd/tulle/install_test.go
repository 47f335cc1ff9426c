package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/identity/ca"
)

// credentials writes an anchor and an issuer below it to files.
func credentials(t *testing.T) (anchor, cert, key string) {
	t.Helper()
	root, err := ca.NewAnchor("cluster.local", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := ca.NewIssuer(root, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	return write("ca.crt", root.CertPEM), write("issuer.crt", issuer.CertPEM), write("issuer.key", issuer.KeyPEM)
}

func TestInstallIsTheSameTwice(t *testing.T) {
	a, b := runCLI(t, noCluster, "", "install"), runCLI(t, healthyCluster(t).connect, "", "install")
	if a.code != 0 || b.code != 0 || a.out != b.out {
		t.Errorf("exit codes %d and %d; the output depends on the cluster", a.code, b.code)
	}
	if a.err != "" || !strings.Contains(b.err, `Tulle is already installed in namespace "tulle" (dev)`) {
		t.Errorf("stderr without a cluster %q, want nothing; with an installation %q, want a note", a.err, b.err)
	}
}

func TestInstallTakesCredentialsFromFilesAndFromValues(t *testing.T) {
	anchor, cert, key := credentials(t)
	read := func(file string) string {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	files := runCLI(t, noCluster, "", "install", "--identity-trust-anchors-file", anchor,
		"--identity-issuer-certificate-file", cert, "--identity-issuer-key-file", key)
	values := runCLI(t, noCluster, "", "install", "--set", "identityTrustAnchorsPEM="+read(anchor),
		"--set", "identity.issuer.tls.crtPEM="+read(cert), "--set", "identity.issuer.tls.keyPEM="+read(key))
	setFile := runCLI(t, noCluster, "", "install", "--set-file",
		"identityTrustAnchorsPEM="+anchor+",identity.issuer.tls.crtPEM="+cert+",identity.issuer.tls.keyPEM="+key)
	if files.code != 0 || files.out != values.out || files.out != setFile.out {
		t.Errorf("exit codes %d, %d, %d; stderr %q; want the same output thrice", files.code, values.code, setFile.code, files.err+values.err+setFile.err)
	}
	if !strings.Contains(files.out, "kind: Secret") {
		t.Error("the issuer is not in the output")
	}
	for _, flags := range [][]string{{"--identity-issuer-certificate-file", cert}, {"--identity-trust-anchors-file", anchor}} {
		if r := runCLI(t, noCluster, "", append([]string{"install"}, flags...)...); r.code != 1 || r.out != "" || !strings.Contains(r.err, "if other credentials are provided") {
			t.Errorf("%q: exit code %d, stderr %q; want all or none", flags, r.code, r.err)
		}
	}
}

func TestInstallFlagsAreValues(t *testing.T) {
	flags := runCLI(t, noCluster, "", "install", "--registry=example.org/mesh/", "--controller-replicas=2", "--proxy-log-level=debug",
		"--skip-outbound-ports=3306,9000-9010", "--default-inbound-policy=deny", "--identity-external-issuer")
	file := `
controllerImage: example.org/mesh/controller
controllerReplicas: 2
proxy: {image: {name: example.org/mesh/proxy}, logLevel: debug, defaultInboundPolicy: deny}
proxyInit: {ignoreOutboundPorts: "3306,9000-9010"}
identity: {issuer: {scheme: kubernetes.io/tls}}
`
	values := runCLI(t, noCluster, file, "install", "-f", "-")
	if flags.code != 0 || values.code != 0 || flags.out != values.out {
		t.Errorf("exit codes %d and %d, stderr %q; want the same output", flags.code, values.code, flags.err+values.err)
	}
}

func TestInstallSaysWhatHasNoEffect(t *testing.T) {
	r := runCLI(t, noCluster, "", "install", "--disable-heartbeat", "--linkerd-cni-enabled", "--set", "disableHeartBeat=true")
	if r.code != 0 || strings.Count(r.err, "warning: ") != 3 || !strings.Contains(r.err, "--disable-heartbeat has no effect: nothing is ever reported home") {
		t.Errorf("exit code %d, stderr %q; want three warnings", r.code, r.err)
	}
	for _, args := range [][]string{{"--set", "controlerReplicas=2"}, {"-o", "xml"}, {"--controller-replicas=0"}, {"-f", "http://127.0.0.1/values.yaml"}} {
		if r := runCLI(t, noCluster, "", append([]string{"install"}, args...)...); r.code != 1 || r.out != "" {
			t.Errorf("%q: exit code %d, %d bytes on stdout; want an error and nothing to apply", args, r.code, len(r.out))
		}
	}
}

func TestInstallCRDsCanBeApplied(t *testing.T) {
	r := runCLI(t, noCluster, "", "install", "--crds")
	if r.code != 0 || strings.Count(r.out, "kind: ") != 1 || !strings.Contains(r.out, "kind: Namespace") || !strings.Contains(r.err, "no custom resource definitions") {
		t.Errorf("exit code %d, stdout %q, stderr %q; want the namespace alone, and a word about it", r.code, r.out, r.err)
	}
}

func TestInstallWritesJSON(t *testing.T) {
	r := runCLI(t, noCluster, "", "install", "-o", "json")
	if lines := strings.Split(strings.TrimSpace(r.out), "\n"); r.code != 0 || len(lines) < 20 || !strings.HasPrefix(lines[0], `{"apiVersion":"v1","kind":"Namespace"`) {
		t.Errorf("exit code %d, %d lines, the first %.60s", r.code, len(lines), lines[0])
	}
}
