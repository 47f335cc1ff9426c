package control

import (
	"time"

	"google.golang.org/grpc/encoding"
	grpcproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/tulle-mesh/tulle/api"
	"github.com/tulle-mesh/tulle/api/pb"
)

// pieceBytes is how much of a value is decoded without a pause: about a quarter of a millisecond's work. Ten thousand
// endpoints are nearly two megabytes, and requests would wait for all of it on the proxy's one thread.
const pieceBytes = 32 << 10

// codec decodes large responses in pieces, and lets requests go first between them. All else is protobuf as usual.
type codec struct{ encoding.CodecV2 }

func newCodec() codec { return codec{encoding.GetCodecV2(grpcproto.Name)} }

// Unmarshal implements encoding.CodecV2.
func (c codec) Unmarshal(data mem.BufferSlice, v any) error {
	r, ok := v.(*pb.SubscribeResponse)
	if !ok || data.Len() <= pieceBytes {
		return c.CodecV2.Unmarshal(data, v)
	}
	buffer := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer buffer.Free()
	return decodePieces(buffer.ReadOnlyData(), r, letRequestsRun)
}

// letRequestsRun pauses so that requests go first. Yielding the thread is not enough: Go's scheduler polls the network
// only when nothing else can run, or every 10 ms.
func letRequestsRun() { time.Sleep(time.Millisecond) }

// decodePieces decodes data into r and calls pause between pieces. Decoding a message's fields one after the other
// decodes the message. Source: Protocol Buffers, Encoding, "Last One Wins".
func decodePieces(data []byte, r *pb.SubscribeResponse, pause func()) error {
	proto.Reset(r)
	for len(data) > 0 {
		number, kind, head := protowire.ConsumeTag(data)
		if head < 0 {
			return protowire.ParseError(head)
		}
		size := protowire.ConsumeFieldValue(number, kind, data[head:])
		if size < 0 {
			return protowire.ParseError(size)
		}
		field := data[:head+size]
		data = data[head+size:]
		if number != api.FieldOutbound || kind != protowire.BytesType {
			if err := merge(field, r); err != nil {
				return err
			}
			continue
		}
		if r.GetOutbound() == nil {
			r.Value = &pb.SubscribeResponse_Outbound{Outbound: &pb.Outbound{}}
		}
		body, _ := protowire.ConsumeBytes(field[head:]) // its size was found above
		if err := mergePieces(body, r.GetOutbound(), pause); err != nil {
			return err
		}
	}
	return nil
}

// mergePieces decodes whole fields of a message, so many at a time that they make a piece.
func mergePieces(data []byte, into proto.Message, pause func()) error {
	for len(data) > 0 {
		end := 0
		for end < len(data) && end < pieceBytes {
			size := fieldSize(data[end:])
			if size < 0 {
				return protowire.ParseError(size)
			}
			end += size
		}
		if err := merge(data[:end], into); err != nil {
			return err
		}
		data = data[end:]
		pause()
	}
	return nil
}

// fieldSize is the length of the field that data begins with, or a negative code of protowire's.
func fieldSize(data []byte) int {
	_, _, size := protowire.ConsumeField(data)
	return size
}

func merge(data []byte, into proto.Message) error {
	return proto.UnmarshalOptions{Merge: true}.Unmarshal(data, into)
}
