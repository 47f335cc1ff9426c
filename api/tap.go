package api

import (
	"errors"
	"fmt"
	"math"
	"time"

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

// EncodeTapEvent returns the wire form of an event, without its headers if they are not wanted.
func EncodeTapEvent(e *mesh.TapEvent, headers bool) *pb.TapEvent {
	out := &pb.TapEvent{
		Kind: pb.TapEvent_Kind(e.Kind), Id: e.ID, Direction: pb.TapDirection(e.Direction),
		Src: encodeTapPeer(e.Src), Dst: encodeTapPeer(e.Dst), Tls: e.TLS,
		Route: encodeRef(e.Route), Server: encodeRef(e.Server), Authorization: encodeRef(e.Authorization),
		Method: []byte(e.Method), Scheme: []byte(e.Scheme), Authority: []byte(e.Authority), Path: []byte(e.Path),
		Status: uint32(e.Status), Since: int64(e.Since), SinceResponse: int64(e.SinceResponse),
		RequestBytes: e.RequestBytes, ResponseBytes: e.ResponseBytes, GrpcStatus: int32(e.GRPCStatus), Error: e.Error,
		Attempts: e.Attempts,
	}
	if !e.At.IsZero() {
		out.At = e.At.UnixNano()
	}
	if headers {
		out.HeadersOmitted = e.HeadersOmitted
		out.Headers = mapped(e.Headers, func(h mesh.TapHeader) *pb.TapHeader {
			return &pb.TapHeader{Name: []byte(h.Name), Value: []byte(h.Value)}
		})
	}
	return out
}

func encodeTapPeer(p mesh.TapPeer) *pb.TapPeer {
	out := &pb.TapPeer{Identity: p.ID.String(), Pod: encodePod(p.Pod), Service: encodeService(p.Service)}
	if p.Addr.IsValid() {
		out.Address = encodeAddr(p.Addr)
	}
	return out
}

// DecodeTapEvents returns what a proxy sent. A kind, direction, address or identity that this release does not know is
// an error.
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
