package detect

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
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
		"a path that is asked for":                  {"GET /a", HTTP1},
		"part of an address":                        {"GET http:/", Undecided},
		"part of a target of an unknown method":     {"BREW /a", Undecided},
		"endless target of an unknown method":       {"BREW /" + strings.Repeat("a", maxLine), HTTP1},
		"endless line that ends":                    {"BREW /" + strings.Repeat("a", maxLine) + "\r\n", HTTP1},
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
		"a long word":                               {strings.Repeat("A", maxLine-1), Undecided},
		"an endless word":                           {strings.Repeat("A", maxLine), Opaque},
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

// requests are inputs that some server accepts as an HTTP request, by their peculiarity. The codec refuses most of
// them.
var requests = map[string]string{
	"nothing":                      "GET / HTTP/1.1\r\n",
	"an empty line before":         "\r\nGET / HTTP/1.1\r\n",
	"empty lines before":           "\r\n\r\n\r\nPOST / HTTP/1.1\r\n",
	"bare line feeds before":       "\n\nGET / HTTP/1.1\r\n",
	"blanks before":                " \t GET / HTTP/1.1\r\n",
	"many empty lines before":      strings.Repeat("\r\n", maxLine),
	"version in lower case":        "GET / http/1.1\r\n",
	"version in mixed case":        "PURGE / Http/1.1\r\n",
	"another version":              "GET / HTTP/3.0\r\n",
	"no version that is known":     "GET / HTTPS/1.1\r\n",
	"HTTP/0.9":                     "GET /\r\n",
	"HTTP/0.9 with a bare LF":      "GET /\n",
	"bare line feeds":              "GET / HTTP/1.1\nHost: a\n\n",
	"tabs between the words":       "GET\t/\tHTTP/1.1\r\n",
	"two spaces":                   "GET  /  HTTP/1.1\r\n",
	"vertical tabs and form feeds": "GET\v/\fHTTP/1.1\r\n",
	"carriage returns":             "GET\r/\rHTTP/1.1\r\n",
	"method in lower case":         "get / HTTP/1.1\r\n",
	"all in lower case":            "get / http/1.1\r\n",
	"unknown method":               "BREW /pot HTTP/1.1\r\n",
	"unknown method in lower case": "brew * http/1.0\r\n",
	"method of a later day":        "M-SEARCH * HTTP/1.1\r\n",
	"a method of WebDAV":           "VERSION-CONTROL /a HTTP/1.1\r\n",
	"absolute form":                "GET http://a/ HTTP/1.1\r\n",
	"absolute form in upper case":  "GET HTTPS://A/\r\n",
	"authority form":               "CONNECT a:443 HTTP/1.1\r\n",
	"asterisk form":                "OPTIONS * HTTP/1.1\r\n",
	"no target":                    "GET HTTP/1.1\r\n",
	"a NUL in the target":          "GET /\x00 HTTP/1.1\r\n",
	"a NUL and another method":     "OPTIONS /\x00 HTTP/1.1\r\n",
	"a method of 33 letters":       strings.Repeat("M", 33) + " / HTTP/1.1\r\n",
	"a method of 4,000 letters":    strings.Repeat("M", 4000) + " / HTTP/1.1\r\n",
	"separators of Python":         "GET\x1c/\x1dHTTP/1.1\r\n",
	"more separators of Python":    "\x1e\x1fGET\x85/\xa0HTTP/1.1\r\n",
	"a sign before the version":    "OPTIONS /a HTTP/+1.1\r\n",
	"a blank before the version":   "OPTIONS * HTTP/ 1.1\r\n",
	"high bytes":                   "GET /\xff\xfe HTTP/1.1\r\n",
	"preface that goes wrong":      "PRI * HTTP/2.0\r\n\r\nSM\r\n\rX",
	"preface in lower case":        "pri * http/2.0\r\n\r\nsm\r\n\r\n",
	"an empty line before preface": "\r\n" + Preface,
	"preface of HTTP/2 of later":   "PRI * HTTP/3.0\r\n",
}

// TestRequestsAreNeverOpaque cuts requests at every byte: what an attacker sends byte by byte must be HTTP in the end.
func TestRequestsAreNeverOpaque(t *testing.T) {
	for name, sent := range requests {
		if got := Classify([]byte(sent)); got != HTTP1 {
			t.Errorf("%s: Classify(%q) = %v, want HTTP/1", name, sent, got)
		}
		for n := range len(sent) {
			if got := Classify([]byte(sent[:n])); got != Undecided && got != HTTP1 {
				t.Errorf("%s: Classify(%q) = %v", name, sent[:n], got)
			}
		}
	}
}

// TestAStalledRequestIsNotOpaque stops inside requests with registered methods.
func TestAStalledRequestIsNotOpaque(t *testing.T) {
	for name, sent := range requests {
		method, _ := cutMethod([]byte(sent))
		if len(method) > 0 && !slices.Contains(methods, string(method)) {
			continue
		}
		for n := 1; n < len(sent) && Classify([]byte(sent[:n])) == Undecided; n++ {
			if got := ClassifyStalled([]byte(sent[:n])); got != HTTP1 && got != HTTP2 {
				t.Errorf("%s: %q and no more is %v", name, sent[:n], got)
			}
		}
	}
	for sent, want := range map[string]Kind{
		"": Opaque, "P": HTTP1, "PRI": HTTP1, "PRI ": HTTP2, Preface[:23]: HTTP2, "\r\n": HTTP1, "GE": HTTP1, "GET ": HTTP1,
		"GET key": HTTP1, "CONNECT a:4": HTTP1,
		"OPTIONS *": HTTP1, "get /a": HTTP1, "BREW /a": HTTP1, "BREW http://": HTTP1, "UPDATEREDIRECTRE": HTTP1,
		"\x16": Opaque, "g": Opaque, "get": Opaque, "get key": Opaque, "PI": Opaque, "BREW": Opaque, "BREW pot": Opaque,
		"ruok": Opaque, "GETS": Opaque,
	} {
		if got := ClassifyStalled([]byte(sent)); got != want {
			t.Errorf("%q and no more is %v, want %v", sent, got, want)
		}
	}
}

// TestOtherProtocolsAreOpaque has the first bytes of clients of other protocols. All of them are opaque once they are
// complete, and no prefix of them is HTTP.
func TestOtherProtocolsAreOpaque(t *testing.T) {
	for name, sent := range map[string]string{
		"Redis, an array":          "*1\r\n$4\r\nPING\r\n",
		"Redis, inline":            "PING\r\n",
		"Redis, inline GET":        "GET key\r\n",
		"Redis, inline without CR": "SET key value\n",
		"memcached get":            "get key\r\n",
		"memcached get of a path":  "get /index\r\n",
		"memcached set":            "set key 0 0 5\r\nhello\r\n",
		"memcached meta":           "mg foo v\r\n",
		"memcached stats":          "stats\r\n",
		"memcached, binary":        "\x80\x0a\x00\x00",
		"beanstalkd":               "put 0 0 60 5\r\nhello\r\n",
		"SMTP":                     "HELO client.example\r\n",
		"SMTP, extended":           "EHLO client.example\r\n",
		"LMTP":                     "LHLO client.example\r\n",
		"POP3":                     "USER anna\r\n",
		"POP3 capabilities":        "CAPA\r\n",
		"IMAP":                     "a001 LOGIN anna secret\r\n",
		"IMAP search":              "A1 SEARCH SUBJECT /\r\n",
		"FTP":                      "USER anonymous\r\n",
		"FTP list":                 "LIST /pub\r\n",
		"IRC":                      "NICK anna\r\n",
		"IRC password":             "PASS secret\r\n",
		"NNTP":                     "MODE READER\r\n",
		"NATS":                     "CONNECT {\"verbose\":false,\"lang\":\"go\"}\r\nPING\r\n",
		"NATS publish":             "PUB orders.new 5\r\nhello\r\n",
		"STOMP":                    "CONNECT\naccept-version:1.2\nhost:a\n\n\x00",
		"STOMP with CRLF":          "STOMP\r\naccept-version:1.2\r\n\r\n\x00",
		"RTSP":                     "OPTIONS rtsp://cam.example/1 RTSP/1.0\r\nCSeq: 1\r\n\r\n",
		"RTSP of a server":         "OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n",
		"SIP":                      "INVITE sip:anna@a.example SIP/2.0\r\n",
		"SIP options":              "OPTIONS sip:a.example SIP/2.0\r\n",
		"ICAP":                     "OPTIONS icap://a.example/scan ICAP/1.0\r\n",
		"SSH":                      "SSH-2.0-OpenSSH_9.7\r\n",
		"VNC":                      "RFB 003.008\n",
		"rsync":                    "@RSYNCD: 31.0\n",
		"git":                      "0032git-upload-pack /project.git\x00host=a\x00",
		"graphite":                 "servers.web.load 1.5 1700000000\n",
		"statsd":                   "requests:1|c\n",
		"OpenTSDB":                 "put sys.cpu.user 1356998400 42.5 host=a\n",
		"Influx line":              "cpu,host=a value=1 1700000000\n",
		"syslog":                   "<34>1 2026-01-01T00:00:00Z a su - - - hello\n",
		"JSON":                     "{\"id\":1}\n",
		"ClamAV":                   "zPING\x00",
		"ZooKeeper with LF":        "ruok\n",
		"ZooKeeper":                "\x00\x00\x00\x2c\x00\x00\x00\x00",
		"PostgreSQL":               "\x00\x00\x00\x08\x04\xd2\x16\x2f",
		"PostgreSQL start-up":      "\x00\x00\x00\x29\x00\x03\x00\x00user\x00anna\x00",
		"MySQL answer":             "\x20\x00\x00\x01\x85\xae\x7f\x00",
		"MongoDB":                  "\x3a\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\xd4\x07\x00\x00",
		"MongoDB of 71 bytes":      "G\x00\x00\x00\x01\x00\x00\x00",
		"AMQP 0-9-1":               "AMQP\x00\x00\x09\x01",
		"AMQP 1.0":                 "AMQP\x00\x01\x00\x00",
		"Kafka":                    "\x00\x00\x00\x24\x00\x12\x00\x03",
		"MQTT":                     "\x10\x12\x00\x04MQTT\x04\x02",
		"Cassandra":                "\x04\x00\x00\x00\x01\x00\x00\x00\x16",
		"Thrift":                   "\x80\x01\x00\x01\x00\x00\x00\x04ping",
		"LDAP":                     "\x30\x0c\x02\x01\x01\x60\x07",
		"DNS over TCP":             "\x00\x1d\x12\x34\x01\x00",
		"DNS over TCP of 0x4745":   "\x47\x45\x00\x00",
		"TNS":                      "\x00\x3a\x00\x00\x01\x00",
		"TDS":                      "\x12\x01\x00\x2f",
		"RMI":                      "JRMI\x00\x02K",
		"CORBA":                    "GIOP\x01\x02\x00\x00",
		"Hazelcast":                "CP2\x22\x00\x00\x00",
		"FIX":                      "8=FIX.4.4\x019=65\x01",
		"HL7":                      "\x0bMSH|^~\\&|\r",
		"BitTorrent":               "\x13BitTorrent protocol",
		"RTMP":                     "\x03\x00\x00\x00\x00",
		"PROXY protocol":           "PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\nGET / HTTP/1.1\r\n",
		"PROXY protocol 2":         "\r\n\r\n\x00\r\nQUIT\n\x21\x11",
		"whois":                    "example.com\r\n",
		"iperf 2":                  strings.Repeat("0123456789", 1000),
		"gzip":                     "\x1f\x8b\x08\x00",
		"MessagePack map of five":  "\x85\xa3key\x01",
		"MessagePack empty string": "\xa0\x93\x01\x02\x03",
		"a token on a line":        strings.Repeat("eyJhbGciOiJub25lIn0.", 100) + "\n",
		"gopher":                   "/docs\r\n",
	} {
		for n := range len(sent) + 1 {
			if got := Classify([]byte(sent[:n])); got != Opaque && (n == len(sent) || got != Undecided) {
				t.Errorf("%s: Classify(%q) = %v", name, sent[:n], got)
			}
		}
	}
	// Some clients send only a word until the server has responded: they are opaque after the timeout.
	for name, sent := range map[string]string{"JDWP": "JDWP-Handshake", "ZooKeeper": "ruok", "a word": "hello world",
		"a word in upper case": "START"} {
		if got := Classify([]byte(sent)); got != Undecided || ClassifyStalled([]byte(sent)) != Opaque {
			t.Errorf("%s: %q is %v, and no more %v", name, sent, got, ClassifyStalled([]byte(sent)))
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

// refragment splits the handshake message of one record into records of size bytes.
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
	// Without the key of 1 kB that Go sends by default: minimizing an input takes time with the square of its length.
	record := clientHello(f, &tls.Config{
		ServerName: "web.example", NextProtos: []string{"tulle.dev/h2"}, CurvePreferences: []tls.CurveID{tls.X25519},
	})
	f.Add(record, 7)
	f.Add(record, 1<<14)
	f.Fuzz(func(t *testing.T, in []byte, size int) {
		whole, err := ParseClientHello(in)
		if err != nil || size < 1 || size > maxRecord || len(in) < recordHeader+int(binary.BigEndian.Uint16(in[3:])) {
			return
		}
		record := in[:recordHeader+int(binary.BigEndian.Uint16(in[3:]))]
		if _, err := ParseClientHello(record); err != nil {
			return // it continues in the next record
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
	f.Add([]byte("0 \x00 HTTP/0")) // was once opaque up to the slash, and then HTTP/1
	for _, sent := range requests {
		f.Add([]byte(sent))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		in = in[:min(len(in), 200)]
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

func TestSniffOfWhatStops(t *testing.T) {
	for name, tc := range map[string]struct {
		sent string
		want Kind
	}{
		"silence": {"", Opaque}, "half a word": {"ru", Opaque}, "half a preface": {Preface[:10], HTTP2},
		"half a method": {"GE", HTTP1},
		"an empty line": {"\r\n", HTTP1},
	} {
		sent := tc.sent
		client, server := pipe(t)
		if sent != "" {
			go func() { _, _ = client.Write([]byte(sent)) }()
		}
		kind, err := server.Sniff(20 * time.Millisecond)
		if kind != tc.want || err != nil || string(server.Peeked()) != sent {
			t.Errorf("%s: got %v, %v, peeked %q", name, kind, err, server.Peeked())
		}
		if sent == "" && cap(server.Peeked()) > 0 {
			t.Errorf("%s: a buffer of %d bytes stays", name, cap(server.Peeked()))
		}
		go func() { _, _ = client.Write([]byte("later")); client.Close() }()
		if got, err := io.ReadAll(server); string(got) != sent+"later" || err != nil {
			t.Errorf("%s: then read %q, %v", name, got, err)
		}
	}
}

// TestSniffOfWhatEnds: half a request whose client has ended can do no harm, so it may be of any kind.
func TestSniffOfWhatEnds(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	if _, err := client.Write([]byte("GE")); err != nil {
		t.Fatal(err)
	}
	if err := client.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	server := NewConn(accepted)
	if kind, err := server.Sniff(time.Minute); kind != Opaque || err != nil {
		t.Errorf("got %v, %v", kind, err)
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
		// A hello of 16 KiB by its header, in records of one byte.
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
