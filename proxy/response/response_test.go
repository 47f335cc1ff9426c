package response

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/message"
)

func respondTo(a Error) *exchange.Exchange {
	x := &exchange.Exchange{}
	_ = a.Write(x)
	return x
}

func field(h *message.Head, name string) string {
	v, _ := h.Get(name)
	return string(v)
}

// TestStatusOfEachFault is the contract: clients retry and dashboards alert on these numbers.
func TestStatusOfEachFault(t *testing.T) {
	for kind, want := range map[exchange.Kind]struct {
		status int
		grpc   string
		cause  string
	}{
		exchange.Malformed:        {400, "13", "http_request_error"},
		exchange.HeadTooLarge:     {431, "8", "http_request_error"},
		exchange.HeadTimeout:      {408, "4", "http_request_error"},
		exchange.Unsupported:      {501, "12", "http_request_error"},
		exchange.NoEndpoint:       {504, "4", "destination_unavailable"},
		exchange.Overloaded:       {503, "14", "connection_limit_reached"},
		exchange.Shutdown:         {503, "14", "proxy_internal_response"},
		exchange.Timeout:          {504, "4", "http_response_timeout"},
		exchange.DialRefused:      {502, "14", "connection_refused"},
		exchange.DialTimeout:      {504, "4", "connection_timeout"},
		exchange.Identity:         {502, "14", "tls_certificate_error"},
		exchange.Refused:          {503, "14", "destination_unavailable"},
		exchange.Lost:             {502, "14", "connection_terminated"},
		exchange.Reset:            {502, "13", "http_response_incomplete"}, // by its code: TestResetBeforeTheResponseHead
		exchange.BadResponse:      {502, "14", "http_protocol_error"},
		exchange.ResponseTooLarge: {502, "13", "http_response_header_section_size"},
		exchange.None:             {500, "13", "proxy_internal_error"},
	} {
		x := respondTo(Error{Fault: exchange.Fault{Kind: kind}})
		if x.Response.Status != want.status || field(&x.Response, "proxy-status") != "tulle-proxy; error="+want.cause {
			t.Errorf("%v: %d, %q; want %d, %q", kind, x.Response.Status, field(&x.Response, "proxy-status"), want.status,
				want.cause)
		}
		x = respondTo(Error{Fault: exchange.Fault{Kind: kind}, GRPC: true})
		if x.Response.Status != 200 || field(&x.Response, "grpc-status") != want.grpc {
			t.Errorf("%v as gRPC: %d, grpc-status %s; want 200, %s", kind, x.Response.Status, field(&x.Response, "grpc-status"),
				want.grpc)
		}
	}
}

func TestDetailsAreForThoseWhoMayKnow(t *testing.T) {
	a := Error{
		Fault: exchange.Fault{Kind: exchange.DialRefused,
			Err: errors.New("dial tcp 10.1.2.3:80: \"refused\"\r\nX-Injected: 1")},
		Object: "cart.shop.svc.cluster.local:80", NextHop: netip.MustParseAddrPort("10.1.2.3:80"), Detailed: true,
	}
	x := respondTo(a)
	status, reason := field(&x.Response, "proxy-status"), field(&x.Response, "l5d-proxy-error")
	if !strings.Contains(status,
		`next-hop="10.1.2.3:80"; details="cart.shop.svc.cluster.local:80: could not connect: dial tcp`) {
		t.Errorf("proxy-status %q", status)
	}
	if strings.ContainsAny(status+reason, "\r\n") || !strings.Contains(status, `\"refused\"`) {
		t.Errorf("an error text ends a field or a string: %q, %q", status, reason)
	}
	a.Detailed = false
	x = respondTo(a)
	for name, value := range x.Response.All() {
		if strings.Contains(string(value), "10.1.2.3") || strings.Contains(string(value), "shop") {
			t.Errorf("stranger gets %s: %s", name, value)
		}
	}
}

func TestGRPCMessageIsEncoded(t *testing.T) {
	if got := percentEncode("50% of\nit: ü"); got != "50%25 of%0Ait: %C3%BC" {
		t.Errorf("got %q", got)
	}
}

func TestContentTypeMarksGRPC(t *testing.T) {
	for value, want := range map[string]bool{
		"application/grpc": true, "application/grpc+proto": true, "application/grpc;x": true, "Application/GRPC": true,
		"application/grpc-web": false, "application/json": false, "": false,
	} {
		var h message.Head
		h.Add("Content-Type", value)
		if got := IsGRPC(&h); got != want {
			t.Errorf("%q: got %v", value, got)
		}
		if h.SetPart(message.Method, "CONNECT"); IsGRPC(&h) {
			t.Errorf("%q: a tunnel is a call", value)
		}
	}
}

func TestFailuresAreLinkerdsSet(t *testing.T) {
	for status, want := range map[int]bool{200: false, 404: false, 499: false, 500: true, 503: true} {
		x := &exchange.Exchange{}
		x.Response.Status = status
		if got := StatusOf(x, false); got.Failure != want {
			t.Errorf("HTTP %d: failure is %v", status, got.Failure)
		}
	}
	for code, want := range map[string]bool{"0": false, "1": false, "5": false, "7": true, "14": true, "13": true,
		"99": true, "x": true, "": true} {
		x := &exchange.Exchange{}
		x.Response.Status = 200
		if code != "" {
			x.Trailers.Add("grpc-status", code)
		}
		if got := StatusOf(x, true); got.Failure != want {
			t.Errorf("grpc-status %q: failure is %v", code, got.Failure)
		}
	}
}
