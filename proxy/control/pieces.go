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

// pieceBytes is how many bytes of a value are decoded without a pause: about a quarter of a millisecond's work. Ten
// thousand endpoints are nearly two megabytes, and requests would wait for all of it on the proxy's one thread.
const pieceBytes = 32 << 10

// codec decodes large responses in pieces, and lets requests run between them. It handles other messages as protobuf
// does.
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

// letRequestsRun pauses so that requests run first. Yielding the thread is not enough: Go's scheduler polls the network
// only when nothing else can run, or every 10 ms.
func letRequestsRun() { time.Sleep(time.Millisecond) }

// decodePieces decodes data into r and calls pause between pieces. A message may be decoded field by field. Source:
// Protocol Buffers, Encoding, "Last One Wins".
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
		body, _ := protowire.ConsumeBytes(field[head:]) // fieldSize has checked its size
		if err := mergePieces(body, r.GetOutbound(), pause); err != nil {
			return err
		}
	}
	return nil
}

// mergePieces decodes whole fields of a message, in groups of pieceBytes.
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

// fieldSize returns the length of the first field of data, or a negative error code of protowire.
func fieldSize(data []byte) int {
	_, _, size := protowire.ConsumeField(data)
	return size
}

func merge(data []byte, into proto.Message) error {
	return proto.UnmarshalOptions{Merge: true}.Unmarshal(data, into)
}
