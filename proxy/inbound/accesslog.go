package inbound

import (
	"encoding/json"
	"io"
	"net/netip"
	"strconv"
	"time"

	"go.uber.org/zap"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/response"
)

// accessLog writes a line for each inbound request.
type accessLog struct {
	format accessFormat
	out    io.Writer
	log    *zap.Logger
}

type accessFormat string

// The formats of the access log.
const (
	accessApache accessFormat = "apache"
	accessJSON   accessFormat = "json"
)

// newAccessLog returns nil for the format "", and for a nil writer.
func newAccessLog(format string, out io.Writer, log *zap.Logger) *accessLog {
	f := accessFormat(format)
	if out == nil || f != accessApache && f != accessJSON {
		if format != "" {
			log.Warn("access log is off", zap.String("format", format), zap.Bool("writer", out != nil))
		}
		return nil
	}
	return &accessLog{format: f, out: out, log: log}
}

// accessLine is a copy of what the line needs of the request's head, which the engine may change before the request
// ends.
type accessLine struct {
	client            netip.AddrPort
	id                string
	method, uri, host string
	version           string
	trace, userAgent  string
	// What policy decided.
	server, route, authorization mesh.Ref
}

// begin copies what the line needs of the request.
func (*accessLog) begin(x *exchange.Exchange) *accessLine {
	c := x.Conn.Data.(*peerConn)
	field := func(name string) string {
		v, _ := x.Request.Get(name)
		return string(v)
	}
	l := &accessLine{
		client: x.Conn.Remote, id: c.client.Name,
		method: string(x.Request.Method()), uri: string(x.Request.Path()), host: string(x.Request.Authority()),
		version: x.Request.Version.String(), userAgent: field("user-agent"),
	}
	for _, name := range []string{"traceparent", "x-b3-traceid", "b3", "x-request-id", "x-amzn-trace-id"} {
		if l.trace = field(name); l.trace != "" {
			break
		}
	}
	return l
}

// end writes the line.
func (a *accessLog) end(l *accessLine, x *exchange.Exchange) {
	var line []byte
	if a.format == accessApache {
		line = l.apache(x)
	} else {
		var err error
		if line, err = l.json(x); err != nil {
			a.log.Error("access log line lost", zap.Error(err))
			return
		}
	}
	if _, err := a.out.Write(append(line, '\n')); err != nil {
		a.log.Error("access log line lost", zap.Error(err))
	}
}

// apache renders the Common Log Format, with the identity in the place of the user.
func (l *accessLine) apache(x *exchange.Exchange) []byte {
	b := append([]byte(nil), l.client.String()...)
	b = append(b, " - "...)
	if l.id == "" {
		b = append(b, '-')
	}
	b = append(b, l.id...)
	b = x.Begun.AppendFormat(append(b, " ["...), "02/Jan/2006:15:04:05 -0700")
	b = append(b, "] "...)
	b = strconv.AppendQuoteToASCII(b, l.method+" "+l.uri+" "+l.version)
	b = strconv.AppendInt(append(b, ' '), int64(x.Response.Status), 10)
	return strconv.AppendInt(append(b, ' '), x.ResponseBytes, 10)
}

// json renders the fields of Linkerd's JSON access log, and what policy decided.
func (l *accessLine) json(x *exchange.Exchange) ([]byte, error) {
	processing := time.Duration(0)
	if !x.Responded.IsZero() && !x.Begun.IsZero() {
		processing = x.Responded.Sub(x.Begun)
	}
	return json.Marshal(struct {
		ClientAddr    string `json:"client.addr"`
		ClientID      string `json:"client.id"`
		Timestamp     string `json:"timestamp"`
		Method        string `json:"method"`
		URI           string `json:"uri"`
		Version       string `json:"version"`
		TraceID       string `json:"trace_id"`
		RequestBytes  int64  `json:"request_bytes"`
		Status        int    `json:"status"`
		ResponseBytes int64  `json:"response_bytes"`
		TotalNS       int64  `json:"total_ns"`
		ProcessingNS  int64  `json:"processing_ns"`
		UserAgent     string `json:"user_agent"`
		Host          string `json:"host"`
		// Beyond Linkerd's.
		Server        string `json:"server,omitempty"`
		Route         string `json:"route,omitempty"`
		Authorization string `json:"authorization,omitempty"`
	}{
		l.client.String(), l.id, x.Begun.UTC().Format(time.RFC3339Nano), l.method, l.uri, l.version, l.trace,
		x.RequestBytes, x.Response.Status, x.ResponseBytes, int64(response.Duration(x)), int64(processing),
		l.userAgent, l.host,
		nameOf(l.server), nameOf(l.route), nameOf(l.authorization),
	})
}
