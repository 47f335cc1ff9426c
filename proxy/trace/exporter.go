package trace

import (
	"context"
	"crypto/tls"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/tulle-mesh/tulle/internal/backoff"
	"github.com/tulle-mesh/tulle/internal/latest"
	"github.com/tulle-mesh/tulle/mesh"
)

// Config is what a Tracer is made from.
type Config struct {
	Collector mesh.Collector
	// TLS is the mesh TLS by which the collector proves its identity; nil means plaintext.
	TLS *tls.Config
	// Ratio is the share of the requests without a trace for which a trace is started.
	Ratio float64
	// Self is the proxy's own identity; zero without mesh TLS.
	Self mesh.ID
	// Resource describes the proxy; an attribute without a value is left out.
	Resource []Attribute
	Version  string
	Log      *zap.Logger
	// Interval is the longest time that a span waits for others; 0 is 5 s.
	Interval time.Duration
}

const (
	// maxQueueBytes bounds the encoded spans that wait. As many may be on their way to the collector.
	maxQueueBytes = 1 << 20
	// enoughBytes of waiting spans are sent at once.
	enoughBytes = 256 << 10
	// sendTimeout bounds one export, maxAge the time that a batch is tried again, lastTimeout the last batch of all.
	sendTimeout = 10 * time.Second
	maxAge      = time.Minute
	lastTimeout = time.Second
	// Waits between tries.
	minBackoff = time.Second
	maxBackoff = 15 * time.Second
)

// Reasons why spans are dropped.
const (
	QueueFull   = "queue_full"  // the collector is slow or away
	Unavailable = "unavailable" // the collector did not take them in time
	Rejected    = "rejected"    // the collector does not want them
)

// exporter sends spans in batches. Its methods may be called by several goroutines; Run may be called once.
type exporter struct {
	cfg      Config
	envelope envelope
	sender   sender        // Run makes it
	wake     latest.Signal // there are enough spans to send

	exported, failures          atomic.Uint64
	full, unavailable, rejected atomic.Uint64

	mu     sync.Mutex // guards the fields below
	queue  []byte     // ScopeSpans.spans, with their tags
	queued uint64
}

func newExporter(cfg Config) *exporter {
	if cfg.Interval == 0 {
		cfg.Interval = 5 * time.Second
	}
	return &exporter{cfg: cfg, envelope: newEnvelope(cfg.Resource, cfg.Version), wake: latest.NewSignal()}
}

// Exported returns how many spans a collector took, and Failures how many exports failed.
func (e *exporter) Exported() uint64 { return e.exported.Load() }

// Failures returns how many exports failed, each try once.
func (e *exporter) Failures() uint64 { return e.failures.Load() }

// Dropped returns how many spans were dropped for a reason.
func (e *exporter) Dropped(reason string) uint64 {
	switch reason {
	case QueueFull:
		return e.full.Load()
	case Unavailable:
		return e.unavailable.Load()
	default:
		return e.rejected.Load()
	}
}

// push queues an encoded span, or drops it if there is no room. It copies the span and never waits for the collector.
func (e *exporter) push(span []byte) {
	size := protowire.SizeBytes(len(span)) + 1
	e.mu.Lock()
	was := len(e.queue)
	fits := was+size <= maxQueueBytes
	if fits {
		e.queue = protowire.AppendTag(e.queue, scopeSpansSpans, protowire.BytesType)
		e.queue = protowire.AppendBytes(e.queue, span)
		e.queued++
	}
	e.mu.Unlock()
	switch {
	case !fits:
		e.full.Add(1)
	case was < enoughBytes && was+size >= enoughBytes:
		e.wake.Notify()
	}
}

// take returns the queued spans. spare is memory for the queue that follows.
func (e *exporter) take(spare []byte) (spans []byte, n uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	spans, n = e.queue, e.queued
	e.queue, e.queued = spare[:0], 0
	return spans, n
}

// Run sends spans until ctx ends, and then once what is queued.
func (e *exporter) Run(ctx context.Context) error {
	if e.sender == nil {
		e.sender = newSender(e.cfg.Collector, e.cfg.TLS)
	}
	defer e.sender.close()
	ticker := time.NewTicker(e.cfg.Interval)
	defer ticker.Stop()
	state := collectorState{log: e.cfg.Log, addr: e.cfg.Collector.Addr}
	var spans []byte
	for {
		select {
		case <-ctx.Done():
		case <-ticker.C:
		case <-e.wake:
		}
		last := ctx.Err() != nil
		var n uint64
		if spans, n = e.take(spans); n > 0 {
			request := e.envelope.request(spans)
			const retainBytes = 64 << 10 // a burst's memory is not retained for the next
			if cap(spans) > retainBytes {
				spans = nil
			}
			e.export(ctx, request, n, &state)
		}
		if last {
			return ctx.Err()
		}
	}
}

// export sends a batch of n spans. It tries again what may succeed later, for maxAge at most.
func (e *exporter) export(ctx context.Context, request []byte, n uint64, state *collectorState) {
	retry := backoff.Backoff{First: minBackoff, Max: maxBackoff}
	for began := time.Now(); ; {
		rejected, err := e.send(ctx, request)
		state.report(err)
		if err == nil {
			rejected = min(rejected, n)
			e.exported.Add(n - rejected)
			e.rejected.Add(rejected)
			return
		}
		e.failures.Add(1)
		var final *refusedError
		if errors.As(err, &final) {
			e.rejected.Add(n)
			return
		}
		wait := retry.Next()
		if time.Since(began)+wait > maxAge || backoff.Sleep(ctx, wait) != nil {
			e.unavailable.Add(n)
			return
		}
	}
}

// send sends a request once. After the end of ctx there is a little time for the last one.
func (e *exporter) send(ctx context.Context, request []byte) (rejected uint64, err error) {
	timeout := sendTimeout
	if ctx.Err() != nil {
		ctx, timeout = context.WithoutCancel(ctx), lastTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	response, err := e.sender.send(ctx, request)
	if err != nil {
		return 0, err
	}
	rejected, message := parseResponse(response)
	if rejected > 0 {
		e.cfg.Log.Debug("collector rejected spans", zap.Uint64("spans", rejected), zap.String("message", message))
	}
	return rejected, nil
}

// collectorState logs when the collector goes away and comes back.
type collectorState struct {
	log  *zap.Logger
	addr string
	away bool
}

func (s *collectorState) report(err error) {
	switch {
	case err != nil && !s.away:
		s.log.Warn("export of spans failed: they are dropped until the collector takes them", zap.String("addr", s.addr),
			zap.Error(err))
	case err == nil && s.away:
		s.log.Info("export of spans succeeds again", zap.String("addr", s.addr))
	}
	s.away = err != nil
}
