package controller

import (
	"net/netip"

	"k8s.io/apimachinery/pkg/types"

	"github.com/tulle-mesh/tulle/controller/discovery"
	"github.com/tulle-mesh/tulle/controller/model"
	"github.com/tulle-mesh/tulle/internal/latest"
	"github.com/tulle-mesh/tulle/mesh"
)

// table holds the store and everything that is watched. It belongs to the loop's goroutine.
//
// A topic is a target as the proxies in one place see it; all their watches read its cell. Its query says what the
// answer depends on at present, and topics with equal queries share one answer. The topics of many nodes and namespaces
// do so until, say, a Service prefers endpoints on the same node: QueryFor decides each time.
type table struct {
	store   *model.Store
	snap    *model.Snapshot
	metrics *metrics

	topics  map[topicKey]*topic
	byAddr  map[netip.Addr]map[*topic]struct{}
	byPod   map[types.NamespacedName]*topic
	answers map[model.Query]*answer

	// rebuild asks for a new snapshot; touched are the topics whose answers may differ now.
	rebuild bool
	touched map[*topic]struct{}
}

// topicKey is a target and what can ever matter of its clients.
type topicKey struct {
	target mesh.Target
	// Of an outbound target.
	node, namespace string
	// Of the inbound target.
	pod types.NamespacedName
}

func keyOf(t mesh.Target, client mesh.Client) topicKey {
	if t.IsInbound() {
		return topicKey{pod: types.NamespacedName{Namespace: client.Namespace, Name: client.Pod}}
	}
	return topicKey{target: t, node: client.Node, namespace: client.Namespace}
}

// topic is a target as the proxies of one node and namespace see it. Streams hold its cell until they release the
// topic; all else belongs to the loop's goroutine.
type topic struct {
	key  topicKey
	refs int // watches of it
	cell *latest.Cell[*discovery.Value]
	// query is the one that was last answered; answered says that there was one.
	query     model.Query
	answered  bool
	published *discovery.Value
}

// answer is shared by every topic with the same query. It belongs to the loop's goroutine, but for value: streams read
// that on goroutines of their own, so refresh replaces it and never changes it.
type answer struct {
	refs  int
	value *discovery.Value // nil if there is none
	stale bool
}

func newTable(c model.Config, m *metrics) *table {
	store := model.New(c)
	return &table{
		store: store, snap: model.BuildSnapshot(store), metrics: m,
		topics: map[topicKey]*topic{}, byAddr: map[netip.Addr]map[*topic]struct{}{},
		byPod:   map[types.NamespacedName]*topic{},
		answers: map[model.Query]*answer{}, touched: map[*topic]struct{}{},
	}
}

// apply records an event and notes which topics it may concern.
func (t *table) apply(e model.Event) []model.Problem {
	change := t.store.Apply(e)
	t.rebuild = t.rebuild || change.Snapshot
	for _, addr := range change.Addrs {
		for tp := range t.byAddr[addr] {
			t.touch(tp)
		}
	}
	for _, pod := range change.Pods {
		if tp := t.byPod[pod]; tp != nil {
			t.touch(tp)
		}
	}
	return change.Problems
}

func (t *table) touch(tp *topic) {
	t.touched[tp] = struct{}{}
	if tp.answered {
		t.answers[tp.query].stale = true
	}
}

// acquire returns the topic of the key for one more watch.
func (t *table) acquire(key topicKey) *topic {
	tp := t.topics[key]
	if tp == nil {
		tp = &topic{key: key, cell: &latest.Cell[*discovery.Value]{}}
		t.topics[key] = tp
		t.index(tp)
		t.touched[tp] = struct{}{}
		t.metrics.watches.Set(float64(len(t.topics)))
	}
	tp.refs++
	return tp
}

func (t *table) index(tp *topic) {
	if tp.key.target.IsInbound() {
		t.byPod[tp.key.pod] = tp
		return
	}
	addr := tp.key.target.Addr.Addr()
	if t.byAddr[addr] == nil {
		t.byAddr[addr] = map[*topic]struct{}{}
	}
	t.byAddr[addr][tp] = struct{}{}
}

// release ends a watch of a topic, and forgets the topic after the last.
func (t *table) release(tp *topic) {
	if tp.refs--; tp.refs > 0 {
		return
	}
	delete(t.topics, tp.key)
	delete(t.touched, tp)
	t.metrics.watches.Set(float64(len(t.topics)))
	if tp.answered {
		t.unref(tp.query)
	}
	if tp.key.target.IsInbound() {
		delete(t.byPod, tp.key.pod)
		return
	}
	addr := tp.key.target.Addr.Addr()
	if delete(t.byAddr[addr], tp); len(t.byAddr[addr]) == 0 {
		delete(t.byAddr, addr)
	}
}

func (t *table) unref(q model.Query) {
	if a := t.answers[q]; a.refs > 1 {
		a.refs--
	} else {
		delete(t.answers, q)
	}
}

// publish brings every touched topic up to date.
func (t *table) publish() {
	if t.rebuild {
		t.rebuild = false
		t.snap = model.BuildSnapshot(t.store)
		t.metrics.rebuilds.Inc()
		for _, tp := range t.topics {
			t.touch(tp)
		}
	}
	for tp := range t.touched {
		t.resolve(tp)
		t.publishTo(tp)
	}
	clear(t.touched)
	t.metrics.answers.Set(float64(len(t.answers)))
}

// resolve moves a topic to the answer of its present query, and brings that up to date.
func (t *table) resolve(tp *topic) {
	client := mesh.Client{Namespace: tp.key.namespace, Node: tp.key.node}
	if tp.key.target.IsInbound() {
		client = mesh.Client{Namespace: tp.key.pod.Namespace, Pod: tp.key.pod.Name}
	}
	q := model.QueryFor(t.store, t.snap, tp.key.target, client)
	if !tp.answered || q != tp.query {
		a := t.answers[q]
		if a == nil {
			a = &answer{stale: true}
			t.answers[q] = a
		}
		a.refs++
		if tp.answered {
			t.unref(tp.query)
		}
		tp.query, tp.answered = q, true
	}
	if a := t.answers[q]; a.stale {
		a.stale = false
		t.refresh(q, a)
	}
}

// refresh resolves q again. An answer that is the same keeps its value, and so the bytes that streams share. When there
// is no answer any more, the last one stays active.
func (t *table) refresh(q model.Query, a *answer) {
	t.metrics.resolves.Inc()
	now := model.Resolve(t.store, t.snap, q)
	if now == (model.Answer{}) || a.value != nil && now.Equal(answerIn(a.value)) {
		return
	}
	a.value = &discovery.Value{Outbound: now.Outbound, Inbound: now.Inbound}
}

// publishTo stores the answer in the topic's cell, unless it would not change what proxies do.
func (t *table) publishTo(tp *topic) {
	value := t.answers[tp.query].value
	if value == nil || value == tp.published {
		return
	}
	last := tp.published
	tp.published = value
	if last != nil && answerIn(last).Equal(answerIn(value)) {
		return
	}
	t.metrics.changes.Inc()
	tp.cell.Store(value)
}

func answerIn(v *discovery.Value) model.Answer {
	return model.Answer{Outbound: v.Outbound, Inbound: v.Inbound}
}
