package main

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"
)

// callsService is the gRPC service tulle.e2e.Calls. Both methods answer each duration with itself when that much time
// has passed: Wait one, Hold as many as the client sends.
var callsService = grpc.ServiceDesc{
	ServiceName: "tulle.e2e.Calls",
	HandlerType: (*any)(nil),
	Methods:     []grpc.MethodDesc{{MethodName: "Wait", Handler: handleWait}},
	Streams:     []grpc.StreamDesc{{StreamName: "Hold", Handler: handleHold, ServerStreams: true, ClientStreams: true}},
}

const (
	methodWait = "/tulle.e2e.Calls/Wait"
	methodHold = "/tulle.e2e.Calls/Hold"
)

func handleWait(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	d := new(durationpb.Duration)
	if err := decode(d); err != nil {
		return nil, err
	}
	return d, pass(ctx, d.AsDuration())
}

func handleHold(_ any, stream grpc.ServerStream) error {
	for {
		d := new(durationpb.Duration)
		if err := stream.RecvMsg(d); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := pass(stream.Context(), d.AsDuration()); err != nil {
			return err
		}
		if err := stream.SendMsg(d); err != nil {
			return err
		}
	}
}

// pass returns when the time has passed or the caller has gone.
func pass(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
