package proxy

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/tulle-mesh/tulle/proxy/forward"
	"github.com/tulle-mesh/tulle/proxy/stats"
)

// drain waits for open connections after the listeners were closed: HTTP clients get a GOAWAY or `connection: close`,
// and every connection may finish until the grace ends. The rest is cut by cancelling the connections' context.
func (p *Proxy) drain(cut context.CancelFunc) {
	p.log.Info("draining", zap.Int("connections", p.conns.count()), zap.Duration("grace", p.env.Times.Grace))
	allEnded := p.conns.stop()
	p.idle.Close() // idle connections have nothing to finish
	ctx, cancel := context.WithTimeout(context.Background(), p.env.Times.Grace)
	defer cancel()
	var engines sync.WaitGroup
	for direction, engine := range map[stats.Direction]*forward.Engine{
		stats.Outbound: p.outbound.Engine(), stats.Inbound: p.inbound.Engine(),
	} {
		engines.Go(func() {
			if err := engine.Drain(ctx); err != nil && !errors.Is(err, context.Canceled) {
				p.log.Warn("drain cut requests off", zap.String("direction", string(direction)), zap.Error(err))
			}
		})
	}
	select {
	case <-allEnded:
		p.log.Info("drained")
	case <-ctx.Done():
		p.log.Warn("grace ended", zap.Int("connections", p.conns.count()))
	}
	cut()
	cancel()
	engines.Wait()
	<-allEnded
}

// wait returns when d has passed or ctx ends.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
