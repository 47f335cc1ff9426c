package api

import (
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/tulle-mesh/tulle/api/pb"
)

// The numbers of SubscribeResponse's fields, from its descriptor. Both ends of a stream read or write large values
// themselves, field by field.
var (
	FieldID       = responseField("id")
	FieldOutbound = responseField("outbound")
	FieldInbound  = responseField("inbound")
)

func responseField(name protoreflect.Name) protowire.Number {
	return (&pb.SubscribeResponse{}).ProtoReflect().Descriptor().Fields().ByName(name).Number()
}
