package attack

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// attack is one kind of abuse.
type attack struct {
	name string
	// from says who attacks: a stranger, a meshed peer, a server that the mesh calls.
	from string
	what string
	// memoryMiB bounds what both proxies together may grow by.
	memoryMiB int
	// endsConnections says that the proxy must end the attacker's connections.
	endsConnections bool
	// run attacks until ctx ends and returns how many connections the proxy ended.
	run func(ctx context.Context, p *pair) (ended int, err error)
}

// dial opens one connection of an attacker.
type dial func(ctx context.Context) (net.Conn, error)

func stranger(*pair) dial {
	return func(ctx context.Context) (net.Conn, error) { return dialAttack(ctx, inbound) }
}

func peer(p *pair) dial { return p.dialMesh }

// step does one piece of work of an attack on an open connection. The attacker's connection ends when it returns an
// error.
type step func(c net.Conn, n int) error

// ramp is the time in which an attacker opens its connections.
const ramp = time.Second

// connections keeps count connections open and calls the step that begin makes for each of them, pace times a second in
// all (0: as fast as it goes). A connection that the proxy ends is counted and made again.
func connections(ctx context.Context, count, pace int, open dial, begin func(net.Conn) (step, error)) (int, error) {
	var ended atomic.Int64
	var wg sync.WaitGroup
	var interval time.Duration
	if pace > 0 {
		interval = time.Duration(count) * time.Second / time.Duration(pace)
	}
	errs := make(chan error, 1)
	for i := range count {
		wg.Go(func() {
			pause(ctx, ramp*time.Duration(i)/time.Duration(count))
			for ctx.Err() == nil {
				err := one(ctx, interval, open, begin)
				switch {
				case ctx.Err() != nil:
					return
				case isEnd(err):
					ended.Add(1)
				case err != nil:
					select {
					case errs <- err:
					default:
					}
					pause(ctx, 50*time.Millisecond)
				}
			}
		})
	}
	wg.Wait()
	select {
	case err := <-errs:
		return int(ended.Load()), err
	default:
		return int(ended.Load()), nil
	}
}

// one runs one connection to its end.
func one(ctx context.Context, interval time.Duration, open dial, begin func(net.Conn) (step, error)) error {
	c, err := open(ctx)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	defer func() { _ = c.Close() }()
	do, err := begin(c)
	for n := 0; err == nil && ctx.Err() == nil; n++ {
		if err = do(c, n); err == nil && interval > 0 {
			pause(ctx, interval)
		}
	}
	return err
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// isEnd reports whether the other side ended the connection.
func isEnd(err error) bool {
	var op *net.OpError
	return err != nil && !errors.Is(err, os.ErrDeadlineExceeded) &&
		(errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &op) && op.Op != "dial")
}

// drain reads what comes, so that the proxy can write.
func drain(c net.Conn) { go func() { _, _ = io.Copy(io.Discard, c) }() }
