package tap

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"google.golang.org/grpc/codes"
)

// shortKinds are the names that Linkerd prints for kinds of workload.
var shortKinds = map[string]string{
	"deployment": "deploy", "statefulset": "sts", "daemonset": "ds", "replicaset": "rs", "cronjob": "cj", "pod": "po",
	"replicationcontroller": "rc", "namespace": "ns", "service": "svc",
}

// Text returns the event as a line of Linkerd's. kind adds what both ends belong to, for the wide output: their object
// of that kind, such as "deployment", otherwise their pod; "" adds nothing. The line has no control characters,
// whatever a client sent.
func (e *Event) Text(kind string) string {
	var b strings.Builder
	id := e.id()
	common := fmt.Sprintf(" id=%d:%d proxy=%s src=%s dst=%s tls=%s", id.Base, id.Stream, e.proxy(), e.Source.addr(),
		e.Destination.addr(), e.tls())
	switch {
	case e.RequestInit != nil:
		r := e.RequestInit
		fmt.Fprintf(&b, "req%s :method=%s :authority=%s :path=%s", common, r.Method, r.Authority, r.Path)
	case e.ResponseInit != nil:
		r := e.ResponseInit
		fmt.Fprintf(&b, "rsp%s :status=%d latency=%dµs", common, r.HTTPStatus, r.SinceRequestInit.micros())
	case e.ResponseEnd != nil:
		r := e.ResponseEnd
		b.WriteString("end" + common)
		if r.GRPC {
			fmt.Fprintf(&b, " grpc-status=%s", codes.Code(r.GRPCStatusCode))
		}
		if r.Error != "" {
			fmt.Fprintf(&b, " error=%s", r.Error)
		}
		fmt.Fprintf(&b, " duration=%dµs response-length=%dB", r.SinceResponseInit.micros(), r.ResponseBytes)
	case e.ConnectionOpen != nil:
		b.WriteString("open" + common + e.identity())
	case e.ConnectionClose != nil:
		c := e.ConnectionClose
		b.WriteString("close" + common + e.identity())
		if c.Error != "" {
			fmt.Fprintf(&b, " error=%s", c.Error)
		}
		fmt.Fprintf(&b, " duration=%dµs read=%dB write=%dB", c.SinceOpen.micros(), c.ReadBytes, c.WriteBytes)
	default:
		b.WriteString("unknown" + common)
	}
	if kind != "" {
		e.Source.writeResource(&b, "src", kind)
		e.Destination.writeResource(&b, "dst", kind)
		for _, label := range slices.Sorted(maps.Keys(e.RouteMeta)) {
			fmt.Fprintf(&b, " rt_%s=%s", label, e.RouteMeta[label])
		}
	}
	return Printable(b.String())
}

// proxy returns the direction in three columns.
func (e *Event) proxy() string {
	if e.ProxyDirection == "INBOUND" {
		return "in "
	}
	return "out"
}

func (e *Event) tls() string {
	if e.ProxyDirection == "INBOUND" {
		return e.Source.Metadata["tls"]
	}
	return e.Destination.Metadata["tls"]
}

// identity returns what the other end proved, for the lines of connections; "" if it proved nothing.
func (e *Event) identity() string {
	if id := e.Source.Metadata["client_id"]; id != "" {
		return " client_id=" + id
	}
	if id := e.Destination.Metadata["server_id"]; id != "" {
		return " server_id=" + id
	}
	return ""
}

func (e *Endpoint) addr() string { return net.JoinHostPort(e.IP, strconv.Itoa(int(e.Port))) }

// writeResource writes what the end belongs to.
func (e *Endpoint) writeResource(b *strings.Builder, side, kind string) {
	if object, ok := e.Metadata[kind]; ok {
		short, known := shortKinds[kind]
		if !known {
			short = kind
		}
		fmt.Fprintf(b, " %s_res=%s/%s", side, short, object)
	} else if pod, ok := e.Metadata["pod"]; ok {
		fmt.Fprintf(b, " %s_pod=%s", side, pod)
	}
	if namespace, ok := e.Metadata["namespace"]; ok && kind != "namespace" {
		fmt.Fprintf(b, " %s_ns=%s", side, namespace)
	}
}

// JSON returns the event as indented JSON. What a terminal may interpret is escaped.
func (e *Event) JSON() (string, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(e); err != nil {
		return "", fmt.Errorf("encode event: %w", err)
	}
	// JSON escapes C0 only. The others are valid in strings alone, where \u means the same.
	var out strings.Builder
	for _, r := range strings.TrimRight(b.String(), "\n") {
		if r == '\n' || printable(r) {
			out.WriteRune(r)
			continue
		}
		for _, unit := range utf16Units(r) {
			fmt.Fprintf(&out, `\u%04x`, unit)
		}
	}
	return out.String(), nil
}

// utf16Units returns the code units that JSON escapes a rune with.
func utf16Units(r rune) []uint16 {
	if r < 0x10000 {
		return []uint16{uint16(r)}
	}
	r -= 0x10000
	return []uint16{uint16(0xd800 + r>>10), uint16(0xdc00 + r&0x3ff)}
}

// Printable returns the text with everything that a terminal may interpret escaped as in Go: control characters, those
// that change the direction of writing, and bytes that are not UTF-8.
func Printable(text string) string {
	if !strings.ContainsFunc(text, func(r rune) bool { return !printable(r) }) {
		return text
	}
	var b strings.Builder
	for len(text) > 0 {
		r, n := utf8.DecodeRuneInString(text)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, text[0])
		case printable(r):
			b.WriteRune(r)
		default:
			quoted := strconv.QuoteRuneToASCII(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
		text = text[n:]
	}
	return b.String()
}

// printable reports whether a rune is a letter, a mark, a number, punctuation, a symbol or a space. unicode.IsPrint has
// no control and no format characters.
func printable(r rune) bool { return r != utf8.RuneError && unicode.IsPrint(r) }
