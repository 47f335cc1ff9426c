package detect

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestClassify(t *testing.T) {
	for name, tc := range map[string]struct {
		prefix string
		want   Kind
	}{
		"nothing yet":                               {"", Undecided},
		"request line":                              {"GET / HTTP/1.1\r\n", HTTP1},
		"extension method":                          {"BASELINE-CONTROL /x HTTP/1.1\r\n", HTTP1},
		"request line without its end":              {"GET / HTTP/1.", HTTP1},
		"absolute form":                             {"GET http://a/ HTTP/1.0\r\n", HTTP1},
		"connect":                                   {"CONNECT a:1 HTTP/1.1\r\n", HTTP1},
		"two spaces are the codec's to refuse":      {"GET  / HTTP/1.1\r\n", HTTP1},
		"bare line feed is the codec's to refuse":   {"GET / HTTP/1.1\n", HTTP1},
		"method alone":                              {"GET", Undecided},
		"part of a target":                          {"GET /a", Undecided},
		"endless target":                            {"GET /" + strings.Repeat("a", maxLine), HTTP1},
		"one letter of the preface":                 {"P", Undecided},
		"part of the preface":                       {"PRI * HTTP/2.0\r\n\r\nSM", Undecided},
		"preface":                                   {Preface, HTTP2},
		"preface and a frame":                       {Preface + "\x00\x00\x00\x04", HTTP2},
		"preface broken off is a bad request":       {"PRI * HTTP/2.0\r\n\r\nXX", HTTP1},
		"redis array":                               {"*1\r\n$4\r\nPING\r\n", Opaque},
		"redis inline":                              {"PING\r\n", Opaque},
		"memcached":                                 {"get key\r\n", Opaque},
		"postgres start-up":                         {"\x00\x00\x00\x08\x04\xd2\x16\x2f", Opaque},
		"method too long":                           {strings.Repeat("A", maxMethod+1), Opaque},
		"binary after a word":                       {"ABC \x00\x01", Opaque},
		"proxy protocol is nothing that is trusted": {"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\nGET / HTTP/1.1\r\n", Opaque},
		"tls record":                                {"\x16\x03\x01", TLS},
		"tls record begins":                         {"\x16", Undecided},
		"0x16 of something else":                    {"\x16\x04", Opaque},
	} {
		if got := Classify([]byte(tc.prefix)); got != tc.want {
			t.Errorf("%s: Classify(%q) = %v, want %v", name, tc.prefix, got, tc.want)
		}
	}
}

// clientHello returns the first flight of a real client.
func clientHello(t testing.TB, config *tls.Config) []byte {
	t.Helper()
	client, server := net.Pipe()
	defer server.Close()
	go func() { _ = tls.Client(client, config).Handshake(); client.Close() }()
	header := make([]byte, recordHeader)
	if _, err := io.ReadFull(server, header); err != nil {
		t.Fatal(err)
	}
	body := make([]byte, binary.BigEndian.Uint16(header[3:]))
	if _, err := io.ReadFull(server, body); err != nil {
		t.Fatal(err)
	}
	return append(header, body...)
}

// refragment spreads the handshake message of one record over records of size bytes.
func refragment(record []byte, size int) []byte {
	var out []byte
	for body := record[recordHeader:]; len(body) > 0; {
		n := min(size, len(body))
		out = append(out, recordHandshake, 3, 1, byte(n>>8), byte(n))
		out = append(out, body[:n]...)
		body = body[n:]
	}
	return out
}

func TestParseClientHelloOfRealClient(t *testing.T) {
	record := clientHello(t, &tls.Config{ServerName: "web.example", NextProtos: []string{"tulle.dev/h2", "h2"}})
	want := Hello{ServerName: "web.example", ALPN: []string{"tulle.dev/h2", "h2"}}
	for _, size := range []int{1, 3, 100, 1 << 14} {
		fragmented := refragment(record, size)
		got, err := ParseClientHello(fragmented)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("records of %d bytes: %v (-want +got)\n%s", size, err, diff)
		}
		for cut := range fragmented {
			if _, err := ParseClientHello(fragmented[:cut]); !errors.Is(err, ErrShort) {
				t.Fatalf("records of %d bytes, first %d of %d bytes: got %v, want ErrShort", size, cut, len(fragmented), err)
			}
		}
	}
	if !want.Offers("x", "h2") || want.Offers("x") {
		t.Error("Offers does not tell what is offered from what is not")
	}
}

func TestParseClientHelloWithoutALPN(t *testing.T) {
	got, err := ParseClientHello(clientHello(t, &tls.Config{ServerName: "web.example", MaxVersion: tls.VersionTLS12}))
	if err != nil || got.ALPN != nil || got.ServerName != "web.example" {
		t.Fatalf("got %+v, %v", got, err)
	}
}

func TestParseClientHelloRejects(t *testing.T) {
	good := clientHello(t, &tls.Config{ServerName: "web.example", NextProtos: []string{"h2"}})
	edit := func(at int, b byte) []byte {
		out := append([]byte(nil), good...)
		out[at] = b
		return out
	}
	for name, in := range map[string][]byte{
		"another record type":   edit(0, 23),
		"another major version": edit(1, 2),
		"record of no length":   {22, 3, 1, 0, 0},
		"record too long":       {22, 3, 1, 0x40, 1},
		"server hello":          edit(5, 2),
		"message too long":      edit(6, 1),
		"session id too long":   edit(recordHeader+handshakeHeader+fixedHello, 255),
		"not tls":               []byte("GET / HTTP/1.1\r\n"),
	} {
		if _, err := ParseClientHello(in); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: got %v, want ErrMalformed", name, err)
		}
	}
}

func FuzzParseClientHello(f *testing.F) {
	record := clientHello(f, &tls.Config{ServerName: "web.example", NextProtos: []string{"tulle.dev/h2"}})
	f.Add(record, 7)
	f.Add(record, 1<<14)
	f.Fuzz(func(t *testing.T, in []byte, size int) {
		whole, err := ParseClientHello(in)
		if err != nil || size < 1 || size > maxRecord || len(in) < recordHeader+int(binary.BigEndian.Uint16(in[3:])) {
			return
		}
		record := in[:recordHeader+int(binary.BigEndian.Uint16(in[3:]))]
		if _, err := ParseClientHello(record); err != nil {
			return // it went on in the next record
		}
		again, err := ParseClientHello(refragment(record, size))
		if err != nil || !cmp.Equal(whole, again) {
			t.Fatalf("split into records of %d bytes: %v, %+v; whole: %+v", size, err, again, whole)
		}
	})
}

func FuzzClassify(f *testing.F) {
	f.Add([]byte("GET / HTTP/1.1\r\n"))
	f.Add([]byte(Preface))
	f.Fuzz(func(t *testing.T, in []byte) {
		decided := Undecided
		for n := range len(in) + 1 {
			kind := Classify(in[:n])
			if decided != Undecided && kind != decided {
				t.Fatalf("%q is %v, but its first %d bytes are %v", in[:n], kind, n-1, decided)
			}
			decided = kind
		}
	})
}

func pipe(t *testing.T) (client net.Conn, server *Conn) {
	t.Helper()
	c, s := net.Pipe()
	t.Cleanup(func() { c.Close(); s.Close() })
	return c, NewConn(s)
}

func TestSniffConsumesNothing(t *testing.T) {
	client, server := pipe(t)
	const request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	go func() {
		for i := range len(request) {
			_, _ = client.Write([]byte{request[i]})
		}
		client.Close()
	}()
	kind, err := server.Sniff(time.Minute)
	if kind != HTTP1 || err != nil {
		t.Fatalf("got %v, %v", kind, err)
	}
	got, err := io.ReadAll(server)
	if string(got) != request || err != nil {
		t.Fatalf("read %q, %v", got, err)
	}
}

func TestSniffFallsBackToOpaque(t *testing.T) {
	for name, sent := range map[string]string{"silence": "", "half a preface": Preface[:10]} {
		client, server := pipe(t)
		if sent != "" {
			go func() { _, _ = client.Write([]byte(sent)) }()
		}
		kind, err := server.Sniff(20 * time.Millisecond)
		if kind != Opaque || err != nil || string(server.Peeked()) != sent {
			t.Errorf("%s: got %v, %v, peeked %q", name, kind, err, server.Peeked())
		}
		go func() { _, _ = client.Write([]byte("later")); client.Close() }()
		if got, err := io.ReadAll(server); string(got) != sent+"later" || err != nil {
			t.Errorf("%s: then read %q, %v", name, got, err)
		}
	}
}

func TestSniffHelloOverManyReads(t *testing.T) {
	client, server := pipe(t)
	record := refragment(clientHello(t, &tls.Config{ServerName: "a", NextProtos: []string{"tulle.dev/tcp"}}), 50)
	go func() {
		for part := record; len(part) > 0; {
			n := min(33, len(part))
			_, _ = client.Write(part[:n])
			part = part[n:]
		}
	}()
	hello, ok, err := server.SniffHello(time.Minute)
	if !ok || err != nil || !hello.Offers("tulle.dev/tcp") {
		t.Fatalf("got %+v, %v, %v", hello, ok, err)
	}
}

func TestSniffHelloIsBounded(t *testing.T) {
	client, server := pipe(t)
	go func() {
		// A hello that announces 16 KiB, in records of one byte.
		_, err := client.Write([]byte{22, 3, 1, 0, 4, 1, 0, 0x3f, 0xff})
		for err == nil {
			_, err = client.Write([]byte{22, 3, 1, 0, 1, 0})
		}
	}()
	_, ok, err := server.SniffHello(time.Minute)
	if ok || err != nil || len(server.Peeked()) > 2*MaxHello {
		t.Fatalf("got %v, %v after %d bytes", ok, err, len(server.Peeked()))
	}
}
