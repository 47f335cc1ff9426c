package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"time"

	"github.com/tulle-mesh/tulle/test/step"
	"github.com/tulle-mesh/tulle/tools/pack"
)

// echoPackages are the programs of the image, by their names in it.
var echoPackages = map[string]string{
	"client": "istio.io/istio/pkg/test/echo/cmd/client",
	"server": "istio.io/istio/pkg/test/echo/cmd/server",
}

// echoImage returns the name and the archive of the application that the suite deploys, under the name that its
// manifest asks for.
func (c *conformance) echoImage(ctx context.Context) (name, archive string, err error) {
	if name, err = c.echoName(ctx); err != nil {
		return "", "", err
	}
	module := filepath.Join(c.root, "test", "conformance", "modules", "echo")
	dir := filepath.Join(c.cache, "conformance-"+suiteVersion+"-"+runtime.GOARCH)
	archive = filepath.Join(dir, "echo.tar")
	if fileExists(archive) {
		return name, archive, nil
	}
	files := map[string]string{}
	for program, pkg := range echoPackages {
		target := filepath.Join(dir, program)
		if err := step.GoBuild(ctx, module, pkg, target, "-ldflags", "-s -w"); err != nil {
			return "", "", err
		}
		files["/usr/local/bin/"+program] = target
	}
	cert, key := filepath.Join(dir, "cert.crt"), filepath.Join(dir, "cert.key")
	if err := writePair(cert, key); err != nil {
		return "", "", err
	}
	files["/cert.crt"], files["/cert.key"] = cert, key
	img, err := pack.Build(pack.Spec{
		Files: files, Entrypoint: []string{"/usr/local/bin/server"}, User: "1338", Architecture: runtime.GOARCH,
		Env: []string{"PATH=/usr/local/bin"}, // the suite runs a bare "client"
	})
	if err != nil {
		return "", "", fmt.Errorf("pack %s: %w", name, err)
	}
	return name, archive, pack.WriteFile(archive, name, img)
}

var imageLine = regexp.MustCompile(`(?m)^\s*-?\s*image:\s*(\S+)`)

// echoName reads the image's name in the suite's manifest.
func (c *conformance) echoName(ctx context.Context) (string, error) {
	dir, err := c.moduleDir(ctx, "sigs.k8s.io/gateway-api/conformance")
	if err != nil {
		return "", err
	}
	data, err := os.ReadFile(filepath.Join(dir, "mesh", "manifests.yaml"))
	if err != nil {
		return "", fmt.Errorf("read the suite's manifest: %w", err)
	}
	m := imageLine.FindSubmatch(data)
	if m == nil {
		return "", errors.New("the suite's manifest names no image")
	}
	return string(m[1]), nil
}

// writePair writes a self-signed certificate for the application's own TLS port; nobody verifies it.
func writePair(certFile, keyFile string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make key: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"echo"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().AddDate(10, 0, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return fmt.Errorf("make certificate: %w", err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("encode key: %w", err)
	}
	if err := os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644); err != nil {
		return fmt.Errorf("write certificate: %w", err)
	}
	// The application does not run as root: the archive's permissions follow the file's.
	if err := os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
		0o644); err != nil {
		return fmt.Errorf("write key: %w", err)
	}
	return nil
}
