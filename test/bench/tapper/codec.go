package main

import (
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/tulle-mesh/tulle/api/pb"
)

// codec counts what a message has and does not decode it. To decode a thousand requests a second takes twice the CPU
// time that the proxy needs to show them. In the bench all share the CPUs, and a tap server is on another machine.
type codec struct{}

// Marshal implements encoding.CodecV2.
func (codec) Marshal(v any) (mem.BufferSlice, error) {
	data, err := proto.Marshal(v.(proto.Message))
	return mem.BufferSlice{mem.SliceBuffer(data)}, err
}

// Unmarshal implements encoding.CodecV2.
func (codec) Unmarshal(data mem.BufferSlice, v any) error {
	buf := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer buf.Free()
	return v.(*counts).read(buf.ReadOnlyData())
}

// Name implements encoding.CodecV2; it ends up in content-type.
func (codec) Name() string { return "proto" }

// Field numbers, from the descriptors.
var (
	fieldEvents  = number(&pb.TapEvents{}, "events")
	fieldLost    = number(&pb.TapEvents{}, "lost")
	fieldSkipped = number(&pb.TapEvents{}, "skipped")
	fieldKind    = number(&pb.TapEvent{}, "kind")
)

func number(m proto.Message, field protoreflect.Name) protowire.Number {
	return m.ProtoReflect().Descriptor().Fields().ByName(field).Number()
}

// read counts what the wire form of pb.TapEvents has.
func (c *counts) read(data []byte) error {
	return each(data, func(field protowire.Number, value uint64, message []byte) error {
		switch field {
		case fieldEvents:
			kind := pb.TapEvent_REQUEST // the zero value, which is not on the wire
			err := each(message, func(field protowire.Number, value uint64, _ []byte) error {
				if field == fieldKind {
					kind = pb.TapEvent_Kind(value)
				}
				return nil
			})
			if err != nil {
				return err
			}
			c.Events++
			if kind == pb.TapEvent_REQUEST {
				c.Requests++
			}
		case fieldLost:
			c.Lost += value
		case fieldSkipped:
			c.Skipped += value
		}
		return nil
	})
}

// each calls do with each field of a message: with its number, or with its bytes.
func each(data []byte, do func(field protowire.Number, value uint64, message []byte) error) error {
	for len(data) > 0 {
		field, kind, head := protowire.ConsumeTag(data)
		if head < 0 {
			return protowire.ParseError(head)
		}
		size := protowire.ConsumeFieldValue(field, kind, data[head:])
		if size < 0 {
			return protowire.ParseError(size)
		}
		var value uint64
		var message []byte
		switch kind {
		case protowire.VarintType:
			value, _ = protowire.ConsumeVarint(data[head:])
		case protowire.BytesType:
			message, _ = protowire.ConsumeBytes(data[head:])
		}
		if err := do(field, value, message); err != nil {
			return err
		}
		data = data[head+size:]
	}
	return nil
}
