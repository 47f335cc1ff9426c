package identity

import (
	"crypto/tls"
	"crypto/x509"
	"testing"
	"time"
)

func TestServingCertificateIsDueByTheWallClock(t *testing.T) {
	now := time.Now()
	for name, test := range map[string]struct {
		begin, end time.Duration // relative to now
		want       bool
	}{
		"young":                                  {-time.Minute, 24 * time.Hour, false},
		"in the second half of its life":         {-13 * time.Hour, 11 * time.Hour, true},
		"over, after the machine slept":          {-48 * time.Hour, -24 * time.Hour, true},
		"of the future, as a clock was set back": {time.Hour, 25 * time.Hour, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := &serving{}
			s.cert.Store(&tls.Certificate{Leaf: &x509.Certificate{NotBefore: now.Add(test.begin), NotAfter: now.Add(test.end)}})
			if got := s.due(now); got != test.want {
				t.Errorf("due is %v, want %v", got, test.want)
			}
		})
	}
	if s := (&serving{}); !s.due(now) {
		t.Error("without a certificate one is due")
	}
}

func TestWhatIsMissingAtTheStartIsNoAlarm(t *testing.T) {
	for _, n := range failures(nil, nil, nil) {
		t.Errorf("told %+v of nothing", n)
	}
	_, issuerErr := issuerPair(nil)
	_, rootsErr := rootsBundle(nil)
	for _, n := range failures(nil, issuerErr, rootsErr) {
		if n.warning {
			t.Errorf("%+v alarms before anything was made", n)
		}
	}
	for _, n := range failures(&Authority{}, issuerErr, rootsErr) {
		if !n.warning {
			t.Errorf("%+v does not alarm although it was deleted", n)
		}
	}
}
