// Package api translates between the mesh vocabulary and the wire.
//
// It owns the meaning of every message of the two services in this folder's .proto files; package pb holds the
// generated code. The two ends of a stream read its envelopes (Hello, Watch, Unwatch); every value goes through this
// package. It imports mesh and pb only. The one idea: Decode(Encode(x)) equals x for every value, and an enum or policy
// that this release does not know fails closed.
package api

//go:generate sh -c "protoc --plugin=protoc-gen-go=$(go tool -n protoc-gen-go) --plugin=protoc-gen-go-grpc=$(go tool -n protoc-gen-go-grpc) --go_out=pb --go_opt=paths=source_relative --go-grpc_out=pb --go-grpc_opt=paths=source_relative identity.proto route.proto discovery.proto tap.proto"
