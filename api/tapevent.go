package api

import (
	"net/netip"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/tulle-mesh/tulle/mesh"
)

// Field numbers of TapEvents and of the messages in it (tap.proto, discovery.proto and route.proto).
const (
	tapEvents protowire.Number = 1

	tapKind           protowire.Number = 1
	tapID             protowire.Number = 2
	tapAt             protowire.Number = 3
	tapDirection      protowire.Number = 4
	tapSrc            protowire.Number = 5
	tapDst            protowire.Number = 6
	tapTLS            protowire.Number = 7
	tapRoute          protowire.Number = 8
	tapServer         protowire.Number = 9
	tapAuthorization  protowire.Number = 10
	tapMethod         protowire.Number = 11
	tapScheme         protowire.Number = 12
	tapAuthority      protowire.Number = 13
	tapPath           protowire.Number = 14
	tapHeaders        protowire.Number = 15
	tapStatus         protowire.Number = 16
	tapSince          protowire.Number = 17
	tapSinceResponse  protowire.Number = 18
	tapRequestBytes   protowire.Number = 19
	tapResponseBytes  protowire.Number = 20
	tapGRPCStatus     protowire.Number = 21
	tapError          protowire.Number = 22
	tapAttempts       protowire.Number = 23
	tapHeadersOmitted protowire.Number = 24

	headerName  protowire.Number = 1
	headerValue protowire.Number = 2

	peerAddress  protowire.Number = 1
	peerIdentity protowire.Number = 2
	peerPod      protowire.Number = 3
	peerService  protowire.Number = 4

	addressIP   protowire.Number = 1
	addressPort protowire.Number = 2

	podNamespace      protowire.Number = 1
	podName           protowire.Number = 2
	podServiceAccount protowire.Number = 3
	podOwnerKind      protowire.Number = 4
	podOwnerName      protowire.Number = 5
	podTemplateHash   protowire.Number = 6
	podControlPlaneNS protowire.Number = 7
	serviceNamespace  protowire.Number = 1
	serviceName       protowire.Number = 2
	servicePort       protowire.Number = 3
	refGroup          protowire.Number = 1
	refKind           protowire.Number = 2
	refNamespace      protowire.Number = 3
	refName           protowire.Number = 4
)

// AppendTapEvent appends the wire form of an event, as one of pb.TapEvents.events. It leaves out the headers if they
// are not wanted. A proxy encodes thousands of events a second beside its traffic: the messages of package pb would
// cost it some garbage collections a second, and this allocates nothing if b has room.
func AppendTapEvent(b []byte, e *mesh.TapEvent, headers bool) []byte {
	b, at := beginMessage(b, tapEvents)
	b = appendNumber(b, tapKind, uint64(e.Kind))
	b = appendNumber(b, tapID, e.ID)
	if !e.At.IsZero() {
		b = appendNumber(b, tapAt, uint64(e.At.UnixNano()))
	}
	b = appendNumber(b, tapDirection, uint64(e.Direction))
	b = appendTapPeer(b, tapSrc, &e.Src)
	b = appendTapPeer(b, tapDst, &e.Dst)
	b = appendText(b, tapTLS, e.TLS)
	b = appendRef(b, tapRoute, &e.Route)
	b = appendRef(b, tapServer, &e.Server)
	b = appendRef(b, tapAuthorization, &e.Authorization)
	b = appendText(b, tapMethod, e.Method)
	b = appendText(b, tapScheme, e.Scheme)
	b = appendText(b, tapAuthority, e.Authority)
	b = appendText(b, tapPath, e.Path)
	if headers {
		for i := range e.Headers {
			var header int
			b, header = beginMessage(b, tapHeaders)
			b = appendText(b, headerName, e.Headers[i].Name)
			b = appendText(b, headerValue, e.Headers[i].Value)
			b = endMessage(b, header)
		}
		b = appendNumber(b, tapHeadersOmitted, uint64(e.HeadersOmitted))
	}
	b = appendNumber(b, tapStatus, uint64(e.Status))
	b = appendNumber(b, tapSince, uint64(e.Since))
	b = appendNumber(b, tapSinceResponse, uint64(e.SinceResponse))
	b = appendNumber(b, tapRequestBytes, e.RequestBytes)
	b = appendNumber(b, tapResponseBytes, e.ResponseBytes)
	b = appendNumber(b, tapGRPCStatus, uint64(e.GRPCStatus))
	b = appendText(b, tapError, e.Error)
	b = appendNumber(b, tapAttempts, uint64(e.Attempts))
	return endMessage(b, at)
}

func appendTapPeer(b []byte, field protowire.Number, p *mesh.TapPeer) []byte {
	b, at := beginMessage(b, field)
	if p.Addr.IsValid() {
		b = appendAddr(b, peerAddress, p.Addr)
	}
	if !p.ID.IsZero() {
		var identity int
		b, identity = beginMessage(b, peerIdentity)
		b = endMessage(p.ID.AppendTo(b), identity)
	}
	if pod := &p.Pod; *pod != (mesh.PodRef{}) {
		var inner int
		b, inner = beginMessage(b, peerPod)
		b = appendText(b, podNamespace, pod.Namespace)
		b = appendText(b, podName, pod.Name)
		b = appendText(b, podServiceAccount, pod.ServiceAccount)
		b = appendText(b, podOwnerKind, pod.OwnerKind)
		b = appendText(b, podOwnerName, pod.OwnerName)
		b = appendText(b, podTemplateHash, pod.PodTemplateHash)
		b = appendText(b, podControlPlaneNS, pod.ControlPlaneNS)
		b = endMessage(b, inner)
	}
	if service := &p.Service; !service.IsZero() {
		var inner int
		b, inner = beginMessage(b, peerService)
		b = appendText(b, serviceNamespace, service.Namespace)
		b = appendText(b, serviceName, service.Name)
		b = appendNumber(b, servicePort, uint64(service.Port))
		b = endMessage(b, inner)
	}
	return endMessage(b, at)
}

func appendAddr(b []byte, field protowire.Number, a netip.AddrPort) []byte {
	b, at := beginMessage(b, field)
	if ip := a.Addr().Unmap(); ip.Is4() {
		four := ip.As4()
		b = protowire.AppendBytes(protowire.AppendTag(b, addressIP, protowire.BytesType), four[:])
	} else {
		sixteen := ip.As16()
		b = protowire.AppendBytes(protowire.AppendTag(b, addressIP, protowire.BytesType), sixteen[:])
	}
	b = appendNumber(b, addressPort, uint64(a.Port()))
	return endMessage(b, at)
}

func appendRef(b []byte, field protowire.Number, r *mesh.Ref) []byte {
	if *r == (mesh.Ref{}) {
		return b
	}
	b, at := beginMessage(b, field)
	b = appendText(b, refGroup, r.Group)
	b = appendText(b, refKind, r.Kind)
	b = appendText(b, refNamespace, r.Namespace)
	b = appendText(b, refName, r.Name)
	return endMessage(b, at)
}

// appendNumber appends a field whose zero value is not sent. Negative numbers are converted with their sign, as
// int32 and int64 are encoded.
func appendNumber(b []byte, field protowire.Number, value uint64) []byte {
	if value == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, field, protowire.VarintType), value)
}

func appendText(b []byte, field protowire.Number, text string) []byte {
	if text == "" {
		return b
	}
	return protowire.AppendString(protowire.AppendTag(b, field, protowire.BytesType), text)
}

// beginMessage begins a nested message, or a field of bytes, of unknown length. at is where it begins; endMessage needs
// it.
func beginMessage(b []byte, field protowire.Number) (out []byte, at int) {
	b = append(protowire.AppendTag(b, field, protowire.BytesType), 0) // room for a length below 128
	return b, len(b)
}

// endMessage writes the length of the message that began at an offset. It moves a message that needs a longer length.
func endMessage(b []byte, at int) []byte {
	size := len(b) - at
	more := protowire.SizeVarint(uint64(size)) - 1
	for range more {
		b = append(b, 0)
	}
	copy(b[at+more:], b[at:at+size])
	protowire.AppendVarint(b[:at-1], uint64(size)) // in place: there is room
	return b
}
