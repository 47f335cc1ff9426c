package api

import (
	"errors"
	"fmt"
	"math"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/tulle-mesh/tulle/api/pb"
	"github.com/tulle-mesh/tulle/mesh"
)

// EncodeTapQuery returns the wire form of a query.
func EncodeTapQuery(q mesh.TapQuery) *pb.TapQuery {
	out := &pb.TapQuery{
		Direction: pb.TapDirection(q.Direction), Method: q.Method, Scheme: q.Scheme, Authority: q.Authority,
		PathPrefix: q.PathPrefix, Headers: q.Headers, PerSecond: q.PerSecond,
	}
	if to := q.To; to != (mesh.TapDestination{}) {
		out.To = &pb.TapDestination{Namespace: to.Namespace, Kind: to.Kind, Name: to.Name}
	}
	return out
}

// DecodeTapQuery returns the query that q says. A direction or field that this release does not know and a rate that is
// too large are errors: the proxy must not show more than was asked for.
func DecodeTapQuery(q *pb.TapQuery) (mesh.TapQuery, error) {
	if len(q.ProtoReflect().GetUnknown()) > 0 || len(q.GetTo().ProtoReflect().GetUnknown()) > 0 {
		return mesh.TapQuery{}, errors.New("decode tap query: a field is unknown to this release")
	}
	direction, err := decodeDirection(q.GetDirection())
	if err != nil {
		return mesh.TapQuery{}, fmt.Errorf("decode tap query: %w", err)
	}
	if q.GetPerSecond() > mesh.MaxTapRate {
		return mesh.TapQuery{}, fmt.Errorf("decode tap query: %d requests a second: want at most %d", q.GetPerSecond(),
			mesh.MaxTapRate)
	}
	return mesh.TapQuery{
		Direction: direction, Method: q.GetMethod(), Scheme: q.GetScheme(), Authority: q.GetAuthority(),
		PathPrefix: q.GetPathPrefix(), Headers: q.GetHeaders(), PerSecond: q.GetPerSecond(),
		To: mesh.TapDestination{
			Namespace: q.GetTo().GetNamespace(), Kind: q.GetTo().GetKind(), Name: q.GetTo().GetName(),
		},
	}, nil
}

func decodeDirection(d pb.TapDirection) (mesh.TapDirection, error) {
	if d < 0 || d > pb.TapDirection_OUTBOUND {
		return 0, fmt.Errorf("unknown direction %d", d)
	}
	return mesh.TapDirection(d), nil
}

// UnmarshalTapEvents returns what a proxy sent. It counts events and headers before it decodes them: two bytes of a
// message become hundreds in memory.
func UnmarshalTapEvents(data []byte) (mesh.TapEvents, error) {
	if len(data) > mesh.MaxTapMessage {
		return mesh.TapEvents{}, fmt.Errorf("decode tap events: %d bytes: want at most %d", len(data), mesh.MaxTapMessage)
	}
	events := 0
	err := eachMessage(data, tapEvents, func(event []byte) error {
		if events++; events > mesh.MaxTapEvents {
			return fmt.Errorf("more than %d events", mesh.MaxTapEvents)
		}
		headers := 0
		return eachMessage(event, tapHeaders, func([]byte) error {
			if headers++; headers > mesh.MaxTapHeaders {
				return fmt.Errorf("more than %d headers", mesh.MaxTapHeaders)
			}
			return nil
		})
	})
	var in pb.TapEvents
	if err == nil {
		err = proto.Unmarshal(data, &in)
	}
	if err != nil {
		return mesh.TapEvents{}, fmt.Errorf("decode tap events: %w", err)
	}
	return DecodeTapEvents(&in)
}

// eachMessage calls do with each value of a field of a message.
func eachMessage(data []byte, field protowire.Number, do func([]byte) error) error {
	for len(data) > 0 {
		number, kind, size := protowire.ConsumeField(data)
		if size < 0 {
			return protowire.ParseError(size)
		}
		if number == field && kind == protowire.BytesType {
			_, _, head := protowire.ConsumeTag(data)
			value, _ := protowire.ConsumeBytes(data[head:size])
			if err := do(value); err != nil {
				return err
			}
		}
		data = data[size:]
	}
	return nil
}

// DecodeTapEvents returns what a proxy sent. A kind, direction, address or identity that this release does not know is
// an error, and so is an event beyond the bounds of a proxy.
func DecodeTapEvents(in *pb.TapEvents) (mesh.TapEvents, error) {
	out := mesh.TapEvents{Lost: in.GetLost(), Skipped: in.GetSkipped()}
	for i, e := range in.GetEvents() {
		event, err := decodeTapEvent(e)
		if err != nil {
			return mesh.TapEvents{}, fmt.Errorf("decode tap event %d: %w", i, err)
		}
		out.Events = append(out.Events, event)
	}
	return out, nil
}

func decodeTapEvent(e *pb.TapEvent) (out mesh.TapEvent, err error) {
	if e.GetKind() < 0 || e.GetKind() > pb.TapEvent_CLOSE {
		return out, fmt.Errorf("unknown kind %d", e.GetKind())
	}
	if e.GetStatus() > 999 || e.GetGrpcStatus() < math.MinInt16 || e.GetGrpcStatus() > math.MaxInt16 {
		return out, fmt.Errorf("status %d, gRPC status %d: out of range", e.GetStatus(), e.GetGrpcStatus())
	}
	if err := checkTapBounds(e); err != nil {
		return out, err
	}
	out = mesh.TapEvent{
		Kind: mesh.TapKind(e.GetKind()), ID: e.GetId(), TLS: e.GetTls(),
		Route: decodeRef(e.GetRoute()), Server: decodeRef(e.GetServer()), Authorization: decodeRef(e.GetAuthorization()),
		Method: string(e.GetMethod()), Scheme: string(e.GetScheme()), Authority: string(e.GetAuthority()),
		Path: string(e.GetPath()), Status: int(e.GetStatus()), Since: time.Duration(e.GetSince()),
		SinceResponse: time.Duration(e.GetSinceResponse()), RequestBytes: e.GetRequestBytes(),
		ResponseBytes: e.GetResponseBytes(), GRPCStatus: int16(e.GetGrpcStatus()), Error: e.GetError(),
		Attempts: e.GetAttempts(), HeadersOmitted: e.GetHeadersOmitted(),
		Headers: mapped(e.GetHeaders(), func(h *pb.TapHeader) mesh.TapHeader {
			return mesh.TapHeader{Name: string(h.GetName()), Value: string(h.GetValue())}
		}),
	}
	if e.GetAt() != 0 {
		out.At = time.Unix(0, e.GetAt())
	}
	if out.Direction, err = decodeDirection(e.GetDirection()); err != nil {
		return out, err
	}
	if out.Src, err = decodeTapPeer(e.GetSrc()); err != nil {
		return out, fmt.Errorf("src: %w", err)
	}
	if out.Dst, err = decodeTapPeer(e.GetDst()); err != nil {
		return out, fmt.Errorf("dst: %w", err)
	}
	return out, nil
}

// maxTapName bounds a name or a word in an event. The names of Kubernetes have at most 253 bytes.
const maxTapName = 512

// checkTapBounds returns an error if an event has more than a proxy sends.
func checkTapBounds(e *pb.TapEvent) error {
	const maxText = mesh.MaxTapText + len("…")
	for _, text := range [][]byte{e.GetMethod(), e.GetScheme(), e.GetAuthority(), e.GetPath()} {
		if len(text) > maxText {
			return fmt.Errorf("a text of %d bytes: want at most %d", len(text), maxText)
		}
	}
	if n := len(e.GetHeaders()); n > mesh.MaxTapHeaders {
		return fmt.Errorf("%d headers: want at most %d", n, mesh.MaxTapHeaders)
	}
	size := 0
	for _, h := range e.GetHeaders() {
		if size >= mesh.MaxTapHeaderBytes || len(h.GetName()) > maxText || len(h.GetValue()) > maxText {
			return errors.New("the headers are too long")
		}
		size += len(h.GetName()) + len(h.GetValue())
	}
	names := []string{e.GetTls(), e.GetError()}
	for _, r := range []*pb.Ref{e.GetRoute(), e.GetServer(), e.GetAuthorization()} {
		names = append(names, r.GetGroup(), r.GetKind(), r.GetNamespace(), r.GetName())
	}
	for _, p := range []*pb.TapPeer{e.GetSrc(), e.GetDst()} {
		pod, service := p.GetPod(), p.GetService()
		names = append(names, service.GetNamespace(), service.GetName(), pod.GetNamespace(), pod.GetName(),
			pod.GetServiceAccount(), pod.GetOwnerKind(), pod.GetOwnerName(), pod.GetPodTemplateHash(),
			pod.GetControlPlaneNs())
		if n := len(p.GetIdentity()); n > mesh.MaxTapText {
			return fmt.Errorf("an identity of %d bytes: want at most %d", n, mesh.MaxTapText)
		}
	}
	for _, name := range names {
		if len(name) > maxTapName {
			return fmt.Errorf("a name of %d bytes: want at most %d", len(name), maxTapName)
		}
	}
	return nil
}

func decodeTapPeer(p *pb.TapPeer) (out mesh.TapPeer, err error) {
	if p.GetAddress() != nil {
		if out.Addr, err = decodeAddr(p.GetAddress()); err != nil {
			return out, err
		}
	}
	if out.ID, err = decodeID(p.GetIdentity()); err != nil {
		return out, err
	}
	out.Service, err = decodeService(p.GetService())
	out.Pod = decodePod(p.GetPod())
	return out, err
}
