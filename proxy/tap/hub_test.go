package tap

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tulle-mesh/tulle/api"
	"github.com/tulle-mesh/tulle/internal/alloctest"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/exchange"
	"github.com/tulle-mesh/tulle/proxy/message"
)

// received takes the messages that wait for a subscriber, and returns their events as the subscriber reads them.
func received(t testing.TB, s *subscription) (messages [][]mesh.TapEvent) {
	t.Helper()
	for taken := s.queue.take(backlog{}); ; {
		encoded, n := taken.message()
		if n == 0 {
			return messages
		}
		m, err := api.UnmarshalTapEvents(encoded)
		if err != nil || len(m.Events) != n {
			t.Fatalf("got %d events, want %d, error %v", len(m.Events), n, err)
		}
		messages = append(messages, m.Events)
		s.queue.sent(n, len(encoded))
	}
}

// waiting returns how many events wait for a subscriber.
func waiting(s *subscription) int { return len(s.queue.waiting.ends) }

// charge is a request as the engine hands it over.
func charge() *exchange.Exchange {
	x := &exchange.Exchange{Conn: &exchange.Conn{}, Begun: time.Now()}
	for part, value := range map[message.Part]string{
		message.Method: "POST", message.Scheme: "http", message.Authority: "Cart.shop", message.Path: "/charge?x=1",
	} {
		x.Request.SetPart(part, value)
	}
	return x
}

// cartPod is an endpoint that requests go to.
var cartPod = mesh.TapPeer{
	Pod: mesh.PodRef{
		Namespace: "shop", Name: "cart-1", ServiceAccount: "cart", OwnerKind: "deployment", OwnerName: "cart",
	},
	Service: mesh.ServiceRef{Namespace: "shop", Name: "cart-svc", Port: 80},
}

func to(kind, namespace, name string) mesh.TapQuery {
	return mesh.TapQuery{To: mesh.TapDestination{Kind: kind, Namespace: namespace, Name: name}}
}

func TestFilters(t *testing.T) {
	for name, test := range map[string]struct {
		query             mesh.TapQuery
		outbound, inbound bool
	}{
		"no filter":                         {mesh.TapQuery{}, true, true},
		"direction":                         {mesh.TapQuery{Direction: mesh.TapOutbound}, true, false},
		"other direction":                   {mesh.TapQuery{Direction: mesh.TapInbound}, false, true},
		"method":                            {mesh.TapQuery{Method: "POST"}, true, true},
		"method in lower case":              {mesh.TapQuery{Method: "post"}, false, false},
		"scheme":                            {mesh.TapQuery{Scheme: "http"}, true, true},
		"other scheme":                      {mesh.TapQuery{Scheme: "https"}, false, false},
		"authority in another case":         {mesh.TapQuery{Authority: "cart.SHOP"}, true, true},
		"begin of the authority":            {mesh.TapQuery{Authority: "cart"}, false, false},
		"begin of the path":                 {mesh.TapQuery{PathPrefix: "/charge"}, true, true},
		"longer than the path":              {mesh.TapQuery{PathPrefix: "/charge/2"}, false, false},
		"one of two does not match":         {mesh.TapQuery{Method: "POST", PathPrefix: "/pay"}, false, false},
		"to a deployment":                   {to("deployment", "shop", "cart"), true, false},
		"to a deployment of any namespace":  {to("deployment", "", "cart"), true, false},
		"to a deployment of another":        {to("deployment", "bank", "cart"), false, false},
		"to another deployment":             {to("deployment", "shop", "web"), false, false},
		"to any deployment":                 {to("deployment", "", ""), true, false},
		"to a statefulset of that name":     {to("statefulset", "shop", "cart"), false, false},
		"to a pod":                          {to("pod", "shop", "cart-1"), true, false},
		"to a Service":                      {to("service", "shop", "cart-svc"), true, false},
		"to a ServiceAccount":               {to("serviceaccount", "shop", "cart"), true, false},
		"to an authority":                   {to("authority", "", "cart.shop"), true, false},
		"to a namespace":                    {to("", "shop", ""), true, false},
		"to another namespace":              {to("", "bank", ""), false, false},
		"to a kind that the proxy does not": {to("cronworkflow", "shop", "cart"), false, false},
	} {
		t.Run(name, func(t *testing.T) {
			for direction, want := range map[mesh.TapDirection]bool{
				mesh.TapOutbound: test.outbound, mesh.TapInbound: test.inbound,
			} {
				h := &Hub{}
				s := h.subscribe(test.query)
				if r := h.Request(direction, charge()); r != nil {
					r.Common().Dst = cartPod
					r.Show()
				}
				if got := waiting(s) == 1; got != want {
					t.Errorf("%v: got shown %v, want %v", direction, got, want)
				}
			}
		})
	}
}

// TestConnectionsHaveNoHead shows which queries match a connection that is not HTTP.
func TestConnectionsHaveNoHead(t *testing.T) {
	for name, test := range map[string]struct {
		query mesh.TapQuery
		shown bool
	}{
		"no filter":       {mesh.TapQuery{}, true},
		"to a deployment": {to("deployment", "shop", "cart"), true},
		"to another":      {to("deployment", "shop", "web"), false},
		"a method":        {mesh.TapQuery{Method: "GET"}, false},
		"a path":          {mesh.TapQuery{PathPrefix: "/"}, false},
		"inbound":         {mesh.TapQuery{Direction: mesh.TapInbound}, false},
	} {
		h := &Hub{}
		s := h.subscribe(test.query)
		c := h.Open(mesh.TapOutbound, mesh.TapEvent{Dst: cartPod})
		c.Close("")
		want := 0
		if test.shown {
			want = 2
		}
		if got := waiting(s); got != want {
			t.Errorf("%s: got %d events, want %d", name, got, want)
		}
	}
}

// TestSlowSubscriberLosesEvents shows that nothing waits for a subscriber that does not read: it loses events and
// learns how many, and another one loses none.
func TestSlowSubscriberLosesEvents(t *testing.T) {
	h := &Hub{}
	slow := h.subscribe(mesh.TapQuery{PerSecond: mesh.MaxTapRate})
	quick := h.subscribe(mesh.TapQuery{PerSecond: mesh.MaxTapRate})
	const requests = 900
	for range requests {
		x := charge()
		r := h.Request(mesh.TapInbound, x)
		r.Show()
		x.Response.Status = 200
		r.End(x, Result{GRPC: -1})
		received(t, quick)
	}
	events, size := uint64(waiting(slow)), len(slow.queue.waiting.encoded)
	if events > queueEvents || size > queueBytes || events+slow.lost.Load() != 3*requests {
		t.Errorf("got %d events, %d bytes waiting and %d lost of %d", events, size, slow.lost.Load(), 3*requests)
	}
	if slow.lost.Load() == 0 || quick.lost.Load() != 0 || h.Lost() != slow.lost.Load() {
		t.Errorf("lost: slow %d, quick %d, all %d", slow.lost.Load(), quick.lost.Load(), h.Lost())
	}
	if quick.queue.sending.events != 0 || quick.queue.sending.bytes != 0 {
		t.Errorf("room that nothing takes: %+v", quick.queue.sending)
	}
}

// TestRate shows that a subscription gets at most its requests a second, and learns how many more there were.
func TestRate(t *testing.T) {
	h := &Hub{}
	all := h.subscribe(mesh.TapQuery{PerSecond: mesh.MaxTapRate})
	usual, few := h.subscribe(mesh.TapQuery{}), h.subscribe(mesh.TapQuery{PerSecond: 2})
	begun := time.Now().Add(time.Minute)
	for range 1500 { // all at one moment
		x := charge()
		x.Begun = begun
		if r := h.Request(mesh.TapInbound, x); r != nil {
			r.Show()
		}
	}
	for name, s := range map[string]struct {
		*subscription
		want uint64
	}{"1,000 a second": {all, 1000}, "the default": {usual, mesh.DefaultTapRate}, "2 a second": {few, 2}} {
		if got := uint64(waiting(s.subscription)) + s.lost.Load(); got != s.want || s.skipped.Load() != 1500-s.want {
			t.Errorf("%s: got %d requests, %d skipped", name, got, s.skipped.Load())
		}
	}
	x := charge()
	x.Begun = begun.Add(2 * time.Second)
	if h.Request(mesh.TapInbound, x) == nil {
		t.Error("two seconds later: got nothing")
	}
}

// TestCandidatesAreBounded shows that a query with a destination costs a bounded number of copies, whatever matches.
func TestCandidatesAreBounded(t *testing.T) {
	for name, test := range map[string]struct {
		query mesh.TapQuery
		want  int
	}{
		"without headers": {to("deployment", "shop", "cart"), maxCandidates},
		"with headers": {mesh.TapQuery{Headers: true, To: to("deployment", "shop", "cart").To},
			maxHeadersCandidates},
		"an authority that is it": {to("authority", "", "cart.shop"), mesh.DefaultTapRate},
		"another authority":       {to("authority", "", "web.shop"), 0},
	} {
		t.Run(name, func(t *testing.T) {
			h := &Hub{}
			s := h.subscribe(test.query)
			begun, got := time.Now().Add(time.Minute), 0
			const requests = 6000
			for range requests { // all at one moment
				x := charge()
				x.Begun = begun
				if r := h.Request(mesh.TapOutbound, x); r != nil {
					got++
					r.Common().Dst.Pod.OwnerKind = "deployment"
					r.Show()
				}
			}
			if got != test.want {
				t.Errorf("got %d copies of %d requests, want %d", got, requests, test.want)
			}
			if skipped := s.skipped.Load(); test.want > 0 && skipped != uint64(requests-test.want) {
				t.Errorf("skipped: got %d", skipped)
			}
		})
	}
}

// TestEndedSubscriptionKeepsNoMemory shows that a connection that stays open does not keep the events of subscriptions
// that have ended.
func TestEndedSubscriptionKeepsNoMemory(t *testing.T) {
	const ended, size = 50, 2000
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	h, before := &Hub{}, heap()
	var records []*Connection
	x := charge()
	x.Request.SetPart(message.Path, "/"+strings.Repeat("a", size))
	for range ended {
		s := h.subscribe(mesh.TapQuery{PerSecond: mesh.MaxTapRate})
		records = append(records, h.Open(mesh.TapOutbound, mesh.TapEvent{}))
		for range mesh.MaxTapRate / 2 {
			if r := h.Request(mesh.TapInbound, x); r != nil {
				r.Show()
			}
		}
		h.unsubscribe(s)
	}
	if grown := heap() - before; grown > 4<<20 {
		t.Errorf("%d ended subscriptions keep %d KiB", ended, grown>>10)
	}
	lost := h.Lost()
	for _, c := range records {
		c.Close("") // must not offer anything to them
	}
	if h.Lost() != lost {
		t.Errorf("%d events were offered to subscriptions that have ended", h.Lost()-lost)
	}
}

func TestSubscriptionsAreBounded(t *testing.T) {
	h := &Hub{}
	var subs []*subscription
	for range maxSubscriptions {
		subs = append(subs, h.subscribe(mesh.TapQuery{}))
	}
	if h.subscribe(mesh.TapQuery{}) != nil {
		t.Error("got one more than the bound")
	}
	for _, s := range subs {
		h.unsubscribe(s)
	}
	if !h.Idle() || h.Subscriptions() != 0 {
		t.Error("not idle after the last has ended")
	}
}

// TestEndOfARequestThatNoEndpointGot shows all three events at the end.
func TestEndOfARequestThatNoEndpointGot(t *testing.T) {
	h := &Hub{}
	s := h.subscribe(mesh.TapQuery{})
	x := charge()
	r := h.Request(mesh.TapOutbound, x)
	x.Response.Status = 504
	x.Fault = exchange.Fault{Kind: exchange.NoEndpoint}
	r.End(x, Result{GRPC: -1, Error: "no_endpoint"})
	var kinds []mesh.TapKind
	for _, m := range received(t, s) {
		for _, e := range m {
			kinds = append(kinds, e.Kind)
		}
	}
	if diff := cmp.Diff([]mesh.TapKind{mesh.TapRequest, mesh.TapResponse, mesh.TapEnd}, kinds); diff != "" {
		t.Errorf("kinds (-want +got):\n%s", diff)
	}
}

func TestHeadersAreRedactedAndBounded(t *testing.T) {
	h := &Hub{}
	h.Configure(mesh.PodRef{}, []string{"X-Api-Key"}, nil)
	var head message.Head
	for _, name := range []string{"Authorization", "cookie", "SET-COOKIE", "proxy-authorization", "x-API-key"} {
		head.Add(name, "secret")
	}
	head.Add("long", strings.Repeat("a", 5000))
	for range 100 {
		head.Add("more", "b")
	}
	fields, omitted := h.fields(&head)
	for i, f := range fields {
		if want := Redacted; i < 5 && f.Value != want {
			t.Errorf("%s: got %q, want %q", f.Name, f.Value, want)
		}
	}
	if len(fields) != maxFields || omitted != 106-maxFields || len(fields[5].Value) > maxText+3 {
		t.Errorf("got %d fields, %d omitted, one of %d bytes", len(fields), omitted, len(fields[5].Value))
	}
}

// TestIdleHubDoesNotAllocate shows that requests cost nothing while nobody watches, and also if no query matches.
func TestIdleHubDoesNotAllocate(t *testing.T) {
	h, x := &Hub{}, charge()
	request := func() {
		if !h.Idle() {
			if r := h.Request(mesh.TapInbound, x); r != nil {
				r.Show()
			}
		}
	}
	if n := alloctest.Count(t, 1000, request); n != 0 {
		t.Errorf("idle: got %v allocations, want 0", n)
	}
	h.subscribe(mesh.TapQuery{PathPrefix: "/pay"})
	h.subscribe(mesh.TapQuery{PathPrefix: "/charge?y="})
	if n := alloctest.Count(t, 1000, request); n != 0 {
		t.Errorf("another path: got %v allocations, want 0", n)
	}
}

// sink keeps the compiler from dropping the load.
var sink bool

func BenchmarkIdle(b *testing.B) {
	h := &Hub{}
	b.ReportAllocs()
	for b.Loop() {
		sink = h.Idle()
	}
}

// BenchmarkFilters compares a request with as many subscriptions as there may be. None wants it.
func BenchmarkFilters(b *testing.B) {
	h, x := &Hub{}, charge()
	for range maxSubscriptions {
		h.subscribe(mesh.TapQuery{Method: "POST", Authority: "cart.shop", PathPrefix: "/charge?y="})
	}
	b.ReportAllocs()
	for b.Loop() {
		if h.Request(mesh.TapOutbound, x) != nil {
			b.Fatal("the request is wanted")
		}
	}
}

// BenchmarkCandidate copies a request for a query whose destination then is another, and drops those beyond the bound.
func BenchmarkCandidate(b *testing.B) {
	for name, headers := range map[string]bool{"plain": false, "headers": true} {
		for rate, perSecond := range map[string]int{"within": 1000, "beyond": 100_000_000} {
			b.Run(name+"/"+rate, func(b *testing.B) {
				h, x := &Hub{}, charge()
				s := h.subscribe(mesh.TapQuery{Headers: headers, To: to("deployment", "shop", "web").To})
				for range 2 * maxFields {
					x.Request.Add("x-header-of-some-length", strings.Repeat("a", 100))
				}
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					x.Begun = s.began.Add(time.Duration(i) * time.Second / time.Duration(perSecond))
					if r := h.Request(mesh.TapOutbound, x); r != nil {
						r.Show()
					}
				}
			})
		}
	}
}

func BenchmarkRequest(b *testing.B) {
	h := &Hub{}
	s := h.subscribe(mesh.TapQuery{PerSecond: mesh.MaxTapRate})
	x := charge()
	x.Response.Status = 200
	var spare backlog
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		x.Begun = s.began.Add(time.Duration(i) * time.Millisecond)
		r := h.Request(mesh.TapInbound, x)
		r.Show()
		r.End(x, Result{GRPC: -1})
		spare = s.queue.take(spare)
		s.queue.sent(len(spare.ends), len(spare.encoded))
	}
}

// TestMessagesAreBounded shows that one message has a bounded number of events and of bytes.
func TestMessagesAreBounded(t *testing.T) {
	for name, size := range map[string]int{"small events": 1, "large events": maxText} {
		h := &Hub{}
		s := h.subscribe(mesh.TapQuery{PerSecond: mesh.MaxTapRate})
		x := charge()
		x.Request.SetPart(message.Path, "/"+strings.Repeat("a", size))
		for range 100 {
			h.Request(mesh.TapInbound, x).Show()
		}
		rest := 100
		for taken := s.queue.take(backlog{}); rest > 0; {
			encoded, events := taken.message()
			if n := len(encoded); events == 0 || events > batchEvents || n > batchBytes+maxEvent || n > mesh.MaxTapMessage {
				t.Fatalf("%s: got %d events of %d bytes", name, events, n)
			}
			rest -= events
		}
	}
}
