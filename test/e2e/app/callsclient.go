package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

// callsCommand is the grpc-go client of the Calls service. It prints what became of each case;
// testdata/clients/client.py is the same for grpcio.
func callsCommand(args []string) error {
	fs := flags("calls")
	host := fs.String("host", "", "host of the server")
	port := fs.Int("port", 9090, "port of the Calls service")
	quiet := fs.Duration("quiet", 0, "run only the cases that are quiet this long")
	_ = fs.Parse(args)
	c := caller{host: *host, port: *port}
	if *quiet > 0 {
		return printJSON(c.all(map[string]func() string{
			"slow unary call":    func() string { return c.wait(c.port, *quiet, *quiet+time.Minute) },
			"silent bidi stream": func() string { return c.hold(*quiet+time.Minute, 0, *quiet, 0) },
		}))
	}
	cases := map[string]func() string{
		"unary call":                  func() string { return c.wait(c.port, 0, time.Minute) },
		"bidi stream":                 func() string { return c.hold(time.Minute, 0, 0, 0) },
		"deadline of a unary call":    func() string { return c.wait(c.port, time.Minute, time.Second) },
		"deadline of a silent stream": func() string { return c.hold(time.Second, 0, time.Minute) },
		"deadline before the server":  func() string { return c.wait(c.port, time.Second, time.Nanosecond) },
		"cancelled by the caller":     c.cancelled,
		"burst, no limit of streams":  func() string { return c.burst(c.port, 200) },
		"burst, limit of 100 streams": func() string { return c.burst(8500, 200) },
		"burst, limit of two streams": func() string { return c.burst(8402, 50) },
		"burst, limit of one stream":  func() string { return c.burst(8401, 50) },
	}
	for code := range 14 {
		cases["reset with "+strconv.Itoa(code)] = func() string { return c.reset(code) }
	}
	return printJSON(c.all(cases))
}

type caller struct {
	host string
	port int
}

// all runs the cases at once and returns their outcomes.
func (c caller) all(cases map[string]func() string) map[string]string {
	outcomes := map[string]string{}
	var mu sync.Mutex // guards outcomes
	var wg sync.WaitGroup
	for _, name := range slices.Sorted(maps.Keys(cases)) {
		wg.Go(func() {
			outcome := cases[name]()
			mu.Lock()
			defer mu.Unlock()
			outcomes[name] = outcome
		})
	}
	wg.Wait()
	return outcomes
}

// with calls do on a fresh connection and names the status that it ended with.
func (c caller) with(port int, limit time.Duration, do func(context.Context, *grpc.ClientConn) error) string {
	target := fmt.Sprintf("dns:///%s:%d", c.host, port)
	conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err.Error()
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	return statusName(do(ctx, conn))
}

// statusName is a code as gRPC's documents write it, with the message for what no case expects.
func statusName(err error) string {
	switch code := status.Code(err); code {
	case codes.OK:
		return "OK"
	case codes.Canceled:
		return "CANCELLED"
	case codes.DeadlineExceeded:
		return "DEADLINE_EXCEEDED"
	case codes.ResourceExhausted:
		return "RESOURCE_EXHAUSTED"
	case codes.PermissionDenied:
		return "PERMISSION_DENIED"
	case codes.Unavailable:
		return "UNAVAILABLE"
	case codes.Internal:
		return "INTERNAL"
	default:
		return strings.ToUpper(code.String()) + ": " + err.Error()
	}
}

func (c caller) wait(port int, d, limit time.Duration) string {
	return c.with(port, limit, func(ctx context.Context, conn *grpc.ClientConn) error {
		return conn.Invoke(ctx, methodWait, durationpb.New(d), new(durationpb.Duration))
	})
}

func (c caller) hold(limit time.Duration, durations ...time.Duration) string {
	return c.with(c.port, limit, func(ctx context.Context, conn *grpc.ClientConn) error {
		stream, err := conn.NewStream(ctx, &callsService.Streams[0], methodHold)
		if err != nil {
			return err
		}
		for _, d := range durations {
			if err := stream.SendMsg(durationpb.New(d)); err != nil {
				return stream.RecvMsg(new(durationpb.Duration)) // which has the status
			}
			if err := stream.RecvMsg(new(durationpb.Duration)); err != nil {
				return err
			}
		}
		return nil
	})
}

func (c caller) cancelled() string {
	return c.with(c.port, time.Minute, func(ctx context.Context, conn *grpc.ClientConn) error {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		time.AfterFunc(time.Second, cancel)
		return conn.Invoke(ctx, methodWait, durationpb.New(time.Minute), new(durationpb.Duration))
	})
}

func (c caller) reset(code int) string {
	return c.with(9091, 10*time.Second, func(ctx context.Context, conn *grpc.ClientConn) error {
		return conn.Invoke(ctx, fmt.Sprintf("/reset/%d", code), new(durationpb.Duration), new(durationpb.Duration))
	})
}

// burst makes n calls at once on a fresh connection.
func (c caller) burst(port, n int) string {
	return c.with(port, time.Minute, func(ctx context.Context, conn *grpc.ClientConn) error {
		failed := make(chan error, n)
		for range n {
			go func() {
				failed <- conn.Invoke(ctx, methodWait, durationpb.New(5*time.Millisecond), new(durationpb.Duration))
			}()
		}
		var first error
		for range n {
			if err := <-failed; err != nil && first == nil {
				first = err
			}
		}
		return first
	})
}
