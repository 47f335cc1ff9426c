package sock

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// collector is a Receiver that stores what it receives and takes odd portions of it.
type collector struct {
	got    bytes.Buffer
	want   int // total number of bytes that will arrive
	pauses int
	calls  int
	drain  chan struct{} // has a token after every call
}

func (c *collector) Receive(in []byte) (int, error) {
	c.calls++
	n := len(in)
	if c.got.Len()+n < c.want && n > 100 && c.calls%3 == 0 {
		n -= 57
	}
	c.got.Write(in[:n])
	select {
	case c.drain <- struct{}{}:
	default:
	}
	if c.pauses > 0 && c.calls%5 == 0 {
		c.pauses--
		return n, ErrPause
	}
	return n, nil
}

func TestPumpDeliversEverythingUpToTheEnd(t *testing.T) {
	for _, secure := range []bool{false, true} {
		t.Run(map[bool]string{false: "plain", true: "tls"}[secure], func(t *testing.T) {
			a, b := pair(t, secure)
			want := make([]byte, 5<<20)
			_, _ = rand.Read(want)
			sent := make(chan error, 1)
			go func() {
				_, err := a.Write(want)
				if err == nil {
					err = a.CloseWrite()
				}
				sent <- err
			}()
			r := &collector{want: len(want), pauses: 3, drain: make(chan struct{}, 1)}
			resume := make(chan struct{}, 8)
			for range cap(resume) {
				resume <- struct{}{}
			}
			if err := b.Pump(r, resume); !errors.Is(err, io.EOF) {
				t.Fatalf("Pump: %v, want EOF", err)
			}
			if err := <-sent; err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(r.got.Bytes(), want) {
				t.Errorf("got %d bytes that differ from the %d sent", r.got.Len(), len(want))
			}
		})
	}
}

// The FIN may be queued together with the last data. No further edge follows, so TCP_INQ must show the FIN.
func TestPumpSeesTheEndThatCameWithTheData(t *testing.T) {
	a, b := pair(t, false)
	if _, err := a.Write([]byte("last words")); err != nil {
		t.Fatal(err)
	}
	_ = a.Close()
	done := make(chan error, 1)
	r := &collector{drain: make(chan struct{}, 1)}
	go func() { done <- b.Pump(r, nil) }()
	select {
	case err := <-done:
		if !errors.Is(err, io.EOF) || r.got.String() != "last words" {
			t.Errorf("Pump: %v after %q", err, r.got.String())
		}
	case <-time.After(5 * time.Second):
		t.Fatal("Pump never saw the end of the stream")
	}
}

func TestIdleConnectionHoldsNoBuffer(t *testing.T) {
	a, b := pair(t, true)
	r := &collector{drain: make(chan struct{}, 8)}
	done := make(chan error, 1)
	go func() { done <- b.Pump(r, nil) }()
	for range 3 {
		if _, err := a.Write([]byte("ping")); err != nil {
			t.Fatal(err)
		}
		<-r.drain
	}
	_ = b.Close()
	<-done
	if b.ahead.buf != nil || b.pump.plain.buf != nil || b.sealBuf != nil || a.sealBuf != nil {
		t.Error("a buffer is still held")
	}
}

func TestTrySendReportsAFullSocketAndSendFinishes(t *testing.T) {
	for _, secure := range []bool{false, true} {
		t.Run(map[bool]string{false: "plain", true: "tls"}[secure], func(t *testing.T) {
			a, b := pair(t, secure)
			want := make([]byte, 32<<20)
			_, _ = rand.Read(want)
			n, full, err := a.TrySend([][]byte{want[:1000], want[1000:]})
			if err != nil || !full {
				t.Fatalf("TrySend of 32 MiB that nobody reads: n %d, full %v, err %v", n, full, err)
			}
			sent := make(chan error, 1)
			go func() {
				_, err := a.Send([][]byte{want[n:]})
				_ = a.CloseWrite()
				sent <- err
			}()
			got, err := io.ReadAll(b)
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("read %d bytes, err %v", len(got), err)
			}
			if err := <-sent; err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestPrefixComesFirst(t *testing.T) {
	a, b := pair(t, false)
	_, _ = a.Write([]byte("world"))
	_ = a.CloseWrite()
	b = New(b, []byte("hello "))
	if got, err := io.ReadAll(b); err != nil || string(got) != "hello world" {
		t.Errorf("got %q, %v", got, err)
	}
}

// pair returns the two ends of a loopback connection.
func pair(t *testing.T, secure bool) (a, b *Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ac, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	bc, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ac.Close(); bc.Close() })
	a, b = New(ac, nil), New(bc, nil)
	if !secure {
		return a, b
	}
	srv, cli := configs(t)
	shaken := make(chan error, 1)
	go func() {
		_, err := Server(context.Background(), b, srv)
		shaken <- err
	}()
	if _, err := Client(context.Background(), a, cli); err != nil {
		t.Fatal(err)
	}
	if err := <-shaken; err != nil {
		t.Fatal(err)
	}
	return a, b
}

func configs(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"peer"}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	cert := tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	return &tls.Config{
			MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{cert},
			SessionTicketsDisabled: true, DynamicRecordSizingDisabled: true,
		}, &tls.Config{
			MinVersion: tls.VersionTLS13, RootCAs: roots, ServerName: "peer", DynamicRecordSizingDisabled: true,
		}
}

// A header that announces a record that is too long must not make anyone wait for the record.
func TestRecordThatIsTooLongEndsTheConnection(t *testing.T) {
	a, b := pair(t, true)
	done := make(chan error, 1)
	go func() { done <- b.Pump(&collector{}, nil) }()
	if _, err := a.NetConn().Write([]byte{23, 3, 3, 0xff, 0xff, 1, 2, 3}); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-done:
		if err == nil || errors.Is(err, io.EOF) {
			t.Errorf("Pump: %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("the reader waits for the rest")
	}
}

// reluctant is a Receiver that always waits for more.
type reluctant chan struct{}

func (r reluctant) Receive([]byte) (int, error) {
	r <- struct{}{}
	return 0, nil
}

// A peer that begins a message and falls silent must not occupy a large buffer.
func TestAByteThatWaitsForMoreTakesLittle(t *testing.T) {
	a, b := pair(t, false)
	r := make(reluctant, 10)
	for _, want := range []string{"G", "GE"} {
		_, _ = a.Write([]byte(want[len(want)-1:]))
		done := make(chan error, 1)
		go func() { done <- b.Pump(r, nil) }()
		if <-r; want == "GE" {
			<-r // the bytes before, then those with the new ones
		}
		_ = b.SetReadDeadline(time.Unix(1, 0))
		if err := <-done; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
		_ = b.SetReadDeadline(time.Time{})
		if b.ahead.buf != nil || string(b.ahead.bytes) != want {
			t.Errorf("%q waits in a large buffer: %v", b.ahead.bytes, b.ahead.buf != nil)
		}
	}
}

// needMore is a Receiver that waits for more of a message.
type needMore struct{ got []byte }

func (w *needMore) Receive(in []byte) (int, error) {
	w.got = append(w.got, in...)
	return len(in), ErrMore
}

// A reset after the last bytes does not show in TCP_INQ and causes no further edge. A receiver that waits for more must
// still notice it.
func TestPumpSeesTheResetThatCameWithTheData(t *testing.T) {
	for range 20 {
		a, b := pair(t, false)
		if _, err := a.Write([]byte("half a message")); err != nil {
			t.Fatal(err)
		}
		_ = a.NetConn().(*net.TCPConn).SetLinger(0)
		_ = a.Close()
		done := make(chan error, 1)
		w := &needMore{}
		go func() { done <- b.Pump(w, nil) }()
		select {
		case err := <-done:
			if !errors.Is(err, syscall.ECONNRESET) || string(w.got) != "half a message" {
				t.Errorf("Pump: %v after %q", err, w.got)
			}
		case <-time.After(5 * time.Second):
			t.Fatal("Pump never saw the reset")
		}
	}
}
