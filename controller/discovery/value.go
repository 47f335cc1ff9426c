package discovery

import (
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc/encoding"
	grpcproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/tulle-mesh/tulle/api"
	"github.com/tulle-mesh/tulle/mesh"
)

// Value is what a proxy gets about a target: one of the two. It is made once and shared by every stream that sends it.
// Outbound and Inbound do not change once the Value is in a cell; the first stream that sends it encodes it.
type Value struct {
	Outbound *mesh.Outbound
	Inbound  *mesh.Inbound

	once sync.Once
	body []byte // Outbound or Inbound, encoded
	err  error
}

func (v *Value) field() protowire.Number {
	if v.Inbound != nil {
		return api.FieldInbound
	}
	return api.FieldOutbound
}

func (v *Value) encoded() ([]byte, error) {
	v.once.Do(func() {
		if v.Inbound != nil {
			v.body, v.err = proto.Marshal(api.EncodeInbound(v.Inbound))
		} else {
			v.body, v.err = proto.Marshal(api.EncodeOutbound(v.Outbound))
		}
	})
	return v.body, v.err
}

// pause is how long a watch rests after the value at a rate of so many bytes a second. The value has been sent.
func (v *Value) pause(rate int) time.Duration {
	body, _ := v.encoded() // without error: it has been sent
	return time.Duration(float64(len(body)) / float64(rate) * float64(time.Second))
}

// response is a SubscribeResponse whose value is in bytes already.
type response struct {
	id    uint64
	value *Value
}

// codec writes responses around the shared bytes of their values; every other message is protobuf as usual.
type codec struct{ encoding.CodecV2 }

func newCodec() codec { return codec{encoding.GetCodecV2(grpcproto.Name)} }

// Marshal implements encoding.CodecV2.
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	r, ok := v.(*response)
	if !ok {
		return c.CodecV2.Marshal(v)
	}
	body, err := r.value.encoded()
	if err != nil {
		return nil, fmt.Errorf("encode value: %w", err)
	}
	var head []byte
	if r.id != 0 {
		head = protowire.AppendTag(head, api.FieldID, protowire.VarintType)
		head = protowire.AppendVarint(head, r.id)
	}
	head = protowire.AppendTag(head, r.value.field(), protowire.BytesType)
	head = protowire.AppendVarint(head, uint64(len(body)))
	return mem.BufferSlice{mem.SliceBuffer(head), mem.SliceBuffer(body)}, nil
}
