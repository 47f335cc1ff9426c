package workload

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// TestEarlyRenewal: a file that names another issuer asks for a renewal within the spread, a bounded number of times.
func TestEarlyRenewal(t *testing.T) {
	file := filepath.Join(t.TempDir(), "issuer-key-id")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		cert := &tls.Certificate{Leaf: &x509.Certificate{AuthorityKeyId: []byte{1, 2}}}
		e := earlyRenewal{file: file}
		none := func(why string) {
			t.Helper()
			if pause, ok := e.due(cert); ok {
				t.Errorf("%s: renewed in %v", why, pause)
			}
		}
		none("without a file")
		write("0102\n")
		none("of the same issuer")
		write("")
		none("an empty file")
		write("0304")
		if _, ok := e.due(nil); ok {
			t.Error("renewed without a certificate")
		}
		for range earlyAttempts {
			pause, ok := e.due(cert)
			if !ok || pause < 0 || pause >= earlySpread {
				t.Errorf("got %v, %v; want a pause within %v", pause, ok, earlySpread)
			}
			none("while one is on its way")
			time.Sleep(2 * earlySpread)
		}
		none("after all attempts")
		write("0506")
		if _, ok := e.due(cert); !ok {
			t.Error("not renewed for another issuer")
		}
	})
}
