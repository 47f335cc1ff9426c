package tap

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/tulle-mesh/tulle/viz/resource"
	"github.com/tulle-mesh/tulle/viz/table"
)

// Text returns the event as a line in Linkerd's format. For the wide output, kind adds to both ends their object of
// that kind, such as "deployment", or their pod; "" adds nothing. The line has no control characters, whatever a client
// sent.
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
	return table.Safe(b.String())
}

// proxy returns the direction, as three characters.
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

// identity returns the identity that the other end proved, as a part of a line; "" if it proved none.
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

// writeResource writes the object or the pod, and the namespace, of one end.
func (e *Endpoint) writeResource(b *strings.Builder, side, kind string) {
	if object, ok := e.Metadata[kind]; ok {
		prefix := kind
		if k, err := resource.ParseKind(kind); err == nil {
			prefix = k.Prefix()
		}
		fmt.Fprintf(b, " %s_res=%s/%s", side, prefix, object)
	} else if pod, ok := e.Metadata["pod"]; ok {
		fmt.Fprintf(b, " %s_pod=%s", side, pod)
	}
	if namespace, ok := e.Metadata["namespace"]; ok && kind != "namespace" {
		fmt.Fprintf(b, " %s_ns=%s", side, namespace)
	}
}

// JSON returns the event as indented JSON without control characters.
func (e *Event) JSON() (string, error) {
	var b strings.Builder
	if err := table.WriteJSON(&b, e); err != nil {
		return "", fmt.Errorf("encode event: %w", err)
	}
	return strings.TrimRight(b.String(), "\n"), nil
}
