package identity

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestEachKeyHasItsOwnBucket(t *testing.T) {
	l := newKeyedLimiter[string](Limit{PerSecond: 1, Burst: 3})
	took := func(key string, at time.Time) (n int) {
		for range 10 {
			if l.allow(key, at) {
				n++
			}
		}
		return n
	}
	if got := took("a", now); got != 3 {
		t.Errorf("a got %d, want the burst of 3", got)
	}
	if got := took("b", now); got != 3 {
		t.Errorf("b got %d beside a, want 3", got)
	}
	if got := took("a", now.Add(2*time.Second)); got != 2 {
		t.Errorf("a got %d after two seconds, want 2", got)
	}
}

func TestLimiterRemembersABoundedNumberOfKeys(t *testing.T) {
	l := newKeyedLimiter[int](Limit{PerSecond: 1, Burst: 1})
	l.allow(-1, now)
	for i := range 3 * maxBuckets {
		l.allow(i, now.Add(time.Duration(i)*time.Microsecond))
		if len(l.buckets) > maxBuckets {
			t.Fatalf("%d buckets", len(l.buckets))
		}
	}
	later := now.Add(time.Minute)
	for i := range maxBuckets {
		l.allow(i, later)
	}
	if l.allow(0, later) {
		t.Error("a bucket that is empty was forgotten while full ones could be")
	}
}

func TestListenerBoundsConnectionsOfAnAddress(t *testing.T) {
	raw, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused := prometheus.NewCounter(prometheus.CounterOpts{Name: "refused"})
	l := newBoundedListener(raw, refused)
	defer l.Close()
	accepted := make(chan net.Conn, 2*maxConnsAddress)
	go func() {
		defer close(accepted)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			accepted <- conn
		}
	}()
	dial := func(local string) net.Conn {
		t.Helper()
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(local)}}
		conn, err := d.Dial("tcp", raw.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	var first net.Conn
	for i := range maxConnsAddress {
		dial("127.0.0.2")
		if conn := <-accepted; i == 0 {
			first = conn
		}
	}
	if _, err := dial("127.0.0.2").Read(make([]byte, 1)); err != io.EOF && err == nil {
		t.Error("one connection too many was served")
	}
	dial("127.0.0.3")
	<-accepted // another address is not affected
	if got := testutil.ToFloat64(refused); got != 1 {
		t.Errorf("%v refusals counted, want 1", got)
	}
	first.Close()
	first.Close() // releases its place once
	dial("127.0.0.2")
	<-accepted
	if l.total != maxConnsAddress+1 {
		t.Errorf("%d connections counted, want %d", l.total, maxConnsAddress+1)
	}
}
