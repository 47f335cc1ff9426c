package tap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/tulle-mesh/tulle/api"
	"github.com/tulle-mesh/tulle/api/pb"
	"github.com/tulle-mesh/tulle/identity/workload"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/viz/table"
)

// MaxTargets bounds the proxies of one watch.
const MaxTargets = 500

// mergedParts bounds the messages of all proxies that wait for the caller, and those that are decoded at once. Beyond
// it nothing is read, so the proxies drop events and count them.
const mergedParts = 16

// flowWindow bounds the bytes that a proxy may send before they are read. By default gRPC lets it grow to 16 MiB.
const flowWindow = 64 << 10

// maxOpen bounds the open requests and connections that are remembered of one proxy.
const maxOpen = 16 << 10

// Target is one proxy to watch.
type Target struct {
	// Namespace and Pod name it.
	Namespace, Pod string
	// Addr is the proxy's control port, ID the identity that it must prove.
	Addr netip.AddrPort
	ID   mesh.ID
	// Ref describes the pod in the events.
	Ref mesh.PodRef
}

// Query says what to watch.
type Query struct {
	mesh.TapQuery
	// MaxPerSecond bounds the new requests and connections a second of all proxies together; 0 means no other bound
	// than each proxy's own.
	MaxPerSecond int
}

// Notice says what is missing in the stream.
type Notice struct {
	// Proxy is the pod, as namespace/name. A Revoked watch has none.
	Proxy string     `json:"proxy"`
	Kind  NoticeKind `json:"kind"`
	// Count is the number of events that were lost, or of requests and connections that were skipped.
	Count uint64 `json:"count,omitempty"`
	// Text is a reason, or "".
	Text string `json:"text,omitempty"`
}

// NoticeKind is the reason of a Notice.
type NoticeKind string

// The kinds of notice.
const (
	Unreachable NoticeKind = "unreachable" // the proxy could not be watched at all
	Ended       NoticeKind = "ended"       // the proxy went away
	Lost        NoticeKind = "lost"        // events were not read in time
	Skipped     NoticeKind = "skipped"     // requests and connections were beyond the rate
	Revoked     NoticeKind = "revoked"     // the user may no longer watch; it is the last of a stream
)

// String returns the notice as one line without control characters.
func (n Notice) String() string {
	text := ""
	switch n.Kind {
	case Unreachable:
		text = fmt.Sprintf("cannot watch %s: %s", n.Proxy, n.Text)
	case Ended:
		text = fmt.Sprintf("%s has gone: %s", n.Proxy, n.Text)
	case Lost:
		text = fmt.Sprintf("%s: %d events were lost, because they were not read in time", n.Proxy, n.Count)
	case Skipped:
		text = fmt.Sprintf("%s: %d requests beyond the maximum rate were skipped", n.Proxy, n.Count)
	case Revoked:
		text = "the watch has ended: " + n.Text
	}
	return table.Safe(text)
}

// Message is one part of the stream. Exactly one field is set.
type Message struct {
	Event  *Event  `json:"event,omitempty"`
	Notice *Notice `json:"notice,omitempty"`
	// Watching is how many proxies are watched. It comes once, when every proxy has answered or failed.
	Watching *int `json:"watching,omitempty"`
}

// Watcher watches proxies, and proves the identity of Certs to them.
type Watcher struct {
	Certs *workload.Manager
	// PodAt describes the pod that has an address, for the sources of inbound requests; nil describes none.
	PodAt func(netip.Addr) (mesh.PodRef, bool)
	// Timeout bounds the connection to a proxy; 0 means 5 s.
	Timeout time.Duration
}

// ErrNoProxy is wrapped by Watch's error if no proxy can be watched.
var ErrNoProxy = errors.New("no proxy can be watched")

// Watch watches targets until ctx ends, emit fails, or the last proxy has gone. It calls emit from one goroutine. It
// returns emit's error, nil if ctx ended or all proxies went away, or an error that wraps ErrNoProxy.
func (w *Watcher) Watch(ctx context.Context, targets []Target, q Query, emit func(Message) error) error {
	if len(targets) > MaxTargets {
		return fmt.Errorf("watch %d proxies: want at most %d; name a workload or a namespace", len(targets), MaxTargets)
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	m := &merger{
		watcher: w, query: q, targets: targets, parts: make(chan part, mergedParts),
		decoding: make(chan struct{}, mergedParts),
		limit:    newRate(q.MaxPerSecond, len(targets)), states: make([]state, len(targets)),
	}
	for i := range targets {
		wg.Go(func() { m.watchOne(ctx, i) })
	}
	go func() { wg.Wait(); close(m.parts) }()
	return m.run(ctx, emit)
}

// part is a message of one proxy, or the end of its stream.
type part struct {
	target int
	events mesh.TapEvents
	active bool // the subscription is active
	err    error
}

// merger joins the streams of many proxies into one.
type merger struct {
	watcher *Watcher
	query   Query
	targets []Target
	parts   chan part // each watchOne sends; Watch closes it after the last
	// decoding has a value for each message that is decoded and not sent yet.
	decoding chan struct{}

	// Only run uses the rest.
	limit           *rate
	states          []state // by target
	watched, failed int     // targets that were watched, and that could not be
}

// state is the state of one proxy's stream.
type state struct {
	open          map[uint64]bool // requests that the rate let through; nil before the subscription is active
	lost, skipped uint64          // since the last notice
}

// watchOne sends the parts of one proxy, and its end.
func (m *merger) watchOne(ctx context.Context, i int) {
	err := m.subscribe(ctx, i)
	if ctx.Err() == nil {
		m.send(ctx, part{target: i, err: err})
	}
}

// subscribe opens the stream of a proxy and sends its parts. It returns why the stream ended.
func (m *merger) subscribe(ctx context.Context, i int) error {
	t := &m.targets[i]
	conn, err := m.watcher.dial(t)
	if err != nil {
		return err
	}
	defer conn.Close()
	timeout := m.watcher.Timeout
	if timeout == 0 {
		timeout = 5 * time.Second
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	late := time.AfterFunc(timeout, func() { cancel(errors.New("the proxy did not answer in time")) })
	defer late.Stop()
	stream, err := open(ctx, conn, m.query.TapQuery)
	if err != nil {
		return reason(ctx, err)
	}
	header, err := stream.Header()
	if err != nil {
		return reason(ctx, err)
	}
	if !late.Stop() {
		return reason(ctx, ctx.Err())
	}
	if len(header.Get(activeHeader)) == 0 {
		return errors.New("the proxy did not confirm the subscription")
	}
	m.send(ctx, part{target: i, active: true})
	for {
		var data []byte
		if err := stream.RecvMsg(&data); err != nil {
			return reason(ctx, err)
		}
		if err := m.decode(ctx, i, data); err != nil {
			return err
		}
	}
}

// decode decodes a message and sends its events. Messages that wait for it stay encoded, which takes less memory.
func (m *merger) decode(ctx context.Context, i int, data []byte) error {
	select {
	case m.decoding <- struct{}{}:
		defer func() { <-m.decoding }()
	case <-ctx.Done():
		return reason(ctx, ctx.Err())
	}
	events, err := api.UnmarshalTapEvents(data)
	if err != nil {
		return err
	}
	m.send(ctx, part{target: i, events: events})
	return nil
}

// activeHeader is proxy/tap.ActiveHeader, which this package does not import: the CLI links it too.
const activeHeader = "tulle-tap-active"

// reason returns why a call failed, in words for a user.
func reason(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	switch {
	case errors.Is(err, io.EOF):
		return errors.New("the proxy ended the stream")
	case status.Code(err) == codes.Unimplemented:
		return errors.New("the proxy is too old to be watched")
	default:
		return errors.New(status.Convert(err).Message())
	}
}

func (m *merger) send(ctx context.Context, p part) {
	select {
	case m.parts <- p:
	case <-ctx.Done():
	}
}

// open sends the query. The stream's messages are bytes.
func open(ctx context.Context, conn *grpc.ClientConn, q mesh.TapQuery) (grpc.ClientStream, error) {
	query, err := proto.Marshal(api.EncodeTapQuery(q))
	if err != nil {
		return nil, err
	}
	stream, err := conn.NewStream(ctx, &pb.Tap_ServiceDesc.Streams[0], pb.Tap_Watch_FullMethodName)
	if err != nil {
		return nil, err
	}
	if err := stream.SendMsg(&query); err != nil && !errors.Is(err, io.EOF) { // RecvMsg says why the stream ended
		return nil, err
	}
	return stream, stream.CloseSend()
}

// rawCodec passes encoded messages, so that nothing decodes one before its parts are counted.
type rawCodec struct{}

// Marshal implements encoding.CodecV2.
func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(*v.(*[]byte))}, nil
}

// Unmarshal implements encoding.CodecV2.
func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}

// Name implements encoding.CodecV2; it ends up in content-type.
func (rawCodec) Name() string { return "proto" }

// dial prepares the connection to a proxy, which must prove its identity.
func (w *Watcher) dial(t *Target) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+t.Addr.String(),
		grpc.WithTransportCredentials(credentials.NewTLS(w.Certs.ClientTLS(t.ID, "h2"))),
		grpc.WithDisableServiceConfig(),
		grpc.WithNoProxy(),
		grpc.WithMaxHeaderListSize(16<<10),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(mesh.MaxTapMessage), grpc.ForceCodecV2(rawCodec{})),
		grpc.WithStaticStreamWindowSize(flowWindow),
		grpc.WithStaticConnWindowSize(flowWindow),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: 2 * time.Second}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 15 * time.Second, Timeout: 5 * time.Second}),
	)
}

// run calls emit with the messages of all proxies. Once a second it adds notices about what was missed.
func (m *merger) run(ctx context.Context, emit func(Message) error) error {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		var out []Message
		select {
		case p, ok := <-m.parts:
			if !ok || ctx.Err() != nil {
				return nil
			}
			out = m.messages(p)
		case <-ticker.C:
			for i := range m.targets {
				out = append(out, m.missing(i)...)
			}
		}
		for _, message := range out {
			if err := emit(message); err != nil {
				return err
			}
		}
		if m.failed == len(m.targets) {
			return fmt.Errorf("watch %d proxies: %w", len(m.targets), ErrNoProxy)
		}
	}
}

// messages returns the messages that a part of one proxy makes.
func (m *merger) messages(p part) (out []Message) {
	t, st := &m.targets[p.target], &m.states[p.target]
	for i := range p.events.Events {
		e := &p.events.Events[i]
		if !m.admit(p.target, e) {
			if e.Kind == mesh.TapRequest || e.Kind == mesh.TapOpen {
				st.skipped++
			}
			continue
		}
		m.describe(t, e)
		out = append(out, Message{Event: newEvent(uint32(p.target), t, e)})
	}
	st.lost += p.events.Lost
	st.skipped += p.events.Skipped
	switch {
	case p.active:
		st.open = map[uint64]bool{}
		m.watched++
	case p.err != nil && st.open == nil:
		m.failed++
		out = append(out, Message{Notice: &Notice{Proxy: t.name(), Kind: Unreachable, Text: errorText(p.err)}})
	case p.err != nil:
		out = append(out, m.missing(p.target)...)
		return append(out, Message{Notice: &Notice{Proxy: t.name(), Kind: Ended, Text: errorText(p.err)}})
	default:
		return out
	}
	if watched := m.watched; watched+m.failed == len(m.targets) {
		out = append(out, Message{Watching: &watched})
	}
	return out
}

// maxErrorText bounds the text of a notice, which a proxy may have chosen.
const maxErrorText = 512

// errorText returns the text of an error, cut at maxErrorText.
func errorText(err error) string {
	text := err.Error()
	if len(text) > maxErrorText {
		return strings.ToValidUTF8(text[:maxErrorText], "") + "…"
	}
	return text
}

// missing returns notices about what was missed of a proxy since the last ones.
func (m *merger) missing(target int) (out []Message) {
	st, proxy := &m.states[target], m.targets[target].name()
	if st.lost > 0 {
		out = append(out, Message{Notice: &Notice{Proxy: proxy, Kind: Lost, Count: st.lost}})
	}
	if st.skipped > 0 {
		out = append(out, Message{Notice: &Notice{Proxy: proxy, Kind: Skipped, Count: st.skipped}})
	}
	st.lost, st.skipped = 0, 0
	return out
}

func (t *Target) name() string { return t.Namespace + "/" + t.Pod }

// admit reports whether an event is within the rate of the whole watch. The first event of a request decides for all.
func (m *merger) admit(target int, e *mesh.TapEvent) bool {
	if m.limit == nil {
		return true
	}
	open := m.states[target].open
	switch e.Kind {
	case mesh.TapRequest, mesh.TapOpen:
		if !m.limit.take(time.Now(), target) {
			return false
		}
		if len(open) >= maxOpen { // their ends were lost
			clear(open)
		}
		open[e.ID] = true
		return true
	case mesh.TapEnd, mesh.TapClose:
		admitted := open[e.ID]
		delete(open, e.ID)
		return admitted
	default:
		return open[e.ID]
	}
}

// describe adds what the proxy cannot know: the owner of its own pod, and the pod with the address of an inbound
// client.
func (m *merger) describe(t *Target, e *mesh.TapEvent) {
	if e.Direction == mesh.TapOutbound {
		e.Src.Pod = t.Ref
		return
	}
	e.Dst.Pod = t.Ref
	if m.watcher.PodAt != nil {
		if pod, ok := m.watcher.PodAt(e.Src.Addr.Addr()); ok {
			e.Src.Pod = pod
		}
	}
}

// rate limits the requests a second of a whole watch. Half of them are in equal shares of the proxies, so one busy or
// hostile proxy cannot hide the others. All proxies share the other half. A nil rate has no limit.
type rate struct {
	perSecond int
	second    time.Time
	shared    int
	own       []int // what is left of each target's share
}

func newRate(perSecond, targets int) *rate {
	if perSecond <= 0 {
		return nil
	}
	return &rate{perSecond: perSecond, own: make([]int, targets)}
}

// take reports whether one more request of a target is within the limit, and counts it.
func (r *rate) take(now time.Time, target int) bool {
	if now.Sub(r.second) >= time.Second {
		share := r.perSecond / 2 / len(r.own)
		r.second, r.shared = now, r.perSecond-share*len(r.own)
		for i := range r.own {
			r.own[i] = share
		}
	}
	from := &r.shared
	if r.own[target] > 0 {
		from = &r.own[target]
	}
	if *from == 0 {
		return false
	}
	*from--
	return true
}
