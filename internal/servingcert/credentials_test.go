package servingcert

import (
	"crypto/x509"
	"slices"
	"testing"
	"time"
)

const testName = "tulle-proxy-injector.tulle.svc"

func mustRenew(t *testing.T, c *credentials, now time.Time) *credentials {
	t.Helper()
	next, err := c.renew(testName, now)
	if err != nil {
		t.Fatal(err)
	}
	return next
}

func TestRenewMakesThenKeeps(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	c := mustRenew(t, nil, now)
	if err := c.check(testName, now); err != nil {
		t.Fatal(err)
	}
	if err := c.check("other.tulle.svc", now); err == nil {
		t.Error("the certificate is good for another name")
	}
	if again := mustRenew(t, c, now.Add(19*24*time.Hour)); again != c {
		t.Error("renewed before two thirds of the serving certificate's life")
	}
	if again := mustRenew(t, c, now.Add(21*24*time.Hour)); again == c || again.authorities[0] != c.authorities[0] {
		t.Error("after two thirds: want a new serving certificate of the same authority")
	}
	if again := mustRenew(t, c, now.Add(40*24*time.Hour)); again.authorities[0] == c.authorities[0] {
		t.Error("an expired serving certificate, as after a long stop: want everything new")
	}
}

// TestRenewalNeverBreaksTrust lives through three years, six hours at a time, and asks at every step what a slow API
// server and a slow replica ask: is what was served a step ago good under what is announced now, and the other way
// round.
func TestRenewalNeverBreaksTrust(t *testing.T) {
	const step = 6 * time.Hour
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	previous := mustRenew(t, nil, now)
	authorities := map[string]bool{}
	for range int(3 * 365 * 24 * time.Hour / step) {
		now = now.Add(step)
		next := mustRenew(t, previous, now)
		if next != previous {
			authorities[string(next.authorities[0].Raw)] = true
			if len(next.authorities) > 2 {
				t.Fatalf("%s: %d authorities are announced", now, len(next.authorities))
			}
			mixed := *next
			mixed.serving = previous.serving
			if err := mixed.check(testName, now); err != nil {
				t.Fatalf("%s: a replica that is late fails: %v", now, err)
			}
			mixed = *previous
			mixed.serving = next.serving
			if err := mixed.check(testName, now); err != nil {
				t.Fatalf("%s: an API server that is late fails: %v", now, err)
			}
		}
		previous = next
	}
	if len(authorities) < 4 {
		t.Errorf("%d authorities in three years, want one every eight months", len(authorities))
	}
}

func TestCredentialsEncode(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	c := mustRenew(t, nil, now)
	c, err := c.withAuthority(testName, now)
	if err != nil {
		t.Fatal(err)
	}
	data, err := c.encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := decodeCredentials(data)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.EqualFunc(got.authorities, c.authorities, (*x509.Certificate).Equal) {
		t.Error("authorities changed")
	}
	if !got.key.Equal(c.key) || !got.serving.Leaf.Equal(c.serving.Leaf) {
		t.Error("keys changed")
	}
	for key := range data {
		broken := map[string][]byte{}
		for k, v := range data {
			broken[k] = v
		}
		broken[key] = []byte("junk")
		if _, err := decodeCredentials(broken); err == nil {
			t.Errorf("junk in %s was accepted", key)
		}
	}
	if _, err := decodeCredentials(nil); err == nil {
		t.Error("an empty Secret was accepted")
	}
}
