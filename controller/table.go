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
// A watch is what proxies in one place ask about one target; an answer belongs to the query that follows from it at
// present. Watches of many nodes and namespaces share one answer until, say, a Service turns to endpoints on the same
// node, and then no more: QueryFor decides each time.
type table struct {
	store   *model.Store
	snap    *model.Snapshot
	metrics *metrics

	watches map[watchKey]*watch
	byAddr  map[netip.Addr]map[*watch]struct{}
	byPod   map[types.NamespacedName]*watch
	answers map[model.Query]*answer

	// rebuild asks for a new snapshot; touched are the watches whose answers may differ now.
	rebuild bool
	touched map[*watch]struct{}
}

// watchKey is a target and what can ever matter of its clients.
type watchKey struct {
	target mesh.Target
	// Of an outbound target.
	node, namespace string
	// Of the inbound target.
	pod types.NamespacedName
}

func keyOf(t mesh.Target, client mesh.Client) watchKey {
	if t.IsInbound() {
		return watchKey{pod: types.NamespacedName{Namespace: client.Namespace, Name: client.Pod}}
	}
	return watchKey{target: t, node: client.Node, namespace: client.Namespace}
}

type watch struct {
	key  watchKey
	refs int
	cell *latest.Cell[*discovery.Value]
	// query is the one that the watch was answered by last; answered says that it ever was.
	query     model.Query
	answered  bool
	published *discovery.Value
}

// answer is shared by every watch with the same query.
type answer struct {
	refs  int
	value *discovery.Value // nil if there is none
	stale bool
}

func newTable(c model.Config, m *metrics) *table {
	store := model.New(c)
	return &table{
		store: store, snap: model.BuildSnapshot(store), metrics: m,
		watches: map[watchKey]*watch{}, byAddr: map[netip.Addr]map[*watch]struct{}{},
		byPod:   map[types.NamespacedName]*watch{},
		answers: map[model.Query]*answer{}, touched: map[*watch]struct{}{},
	}
}

// apply records an event and notes which watches it may concern.
func (t *table) apply(e model.Event) []model.Problem {
	change := t.store.Apply(e)
	t.rebuild = t.rebuild || change.Snapshot
	for _, addr := range change.Addrs {
		for w := range t.byAddr[addr] {
			t.touch(w)
		}
	}
	for _, pod := range change.Pods {
		if w := t.byPod[pod]; w != nil {
			t.touch(w)
		}
	}
	return change.Problems
}

func (t *table) touch(w *watch) {
	t.touched[w] = struct{}{}
	if w.answered {
		t.answers[w.query].stale = true
	}
}

// watch returns the watch for key, one more time used.
func (t *table) watch(key watchKey) *watch {
	w := t.watches[key]
	if w == nil {
		w = &watch{key: key, cell: &latest.Cell[*discovery.Value]{}}
		t.watches[key] = w
		t.index(w)
		t.touched[w] = struct{}{}
		t.metrics.watches.Set(float64(len(t.watches)))
	}
	w.refs++
	return w
}

func (t *table) index(w *watch) {
	if w.key.target.IsInbound() {
		t.byPod[w.key.pod] = w
		return
	}
	addr := w.key.target.Addr.Addr()
	if t.byAddr[addr] == nil {
		t.byAddr[addr] = map[*watch]struct{}{}
	}
	t.byAddr[addr][w] = struct{}{}
}

// release ends one use of w, and forgets it after the last.
func (t *table) release(w *watch) {
	if w.refs--; w.refs > 0 {
		return
	}
	delete(t.watches, w.key)
	delete(t.touched, w)
	t.metrics.watches.Set(float64(len(t.watches)))
	if w.answered {
		t.unref(w.query)
	}
	if w.key.target.IsInbound() {
		delete(t.byPod, w.key.pod)
		return
	}
	addr := w.key.target.Addr.Addr()
	if delete(t.byAddr[addr], w); len(t.byAddr[addr]) == 0 {
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

// publish brings every touched watch up to date.
func (t *table) publish() {
	if t.rebuild {
		t.rebuild = false
		t.snap = model.BuildSnapshot(t.store)
		t.metrics.rebuilds.Inc()
		for _, w := range t.watches {
			t.touch(w)
		}
	}
	for w := range t.touched {
		t.resolve(w)
		t.publishTo(w)
	}
	clear(t.touched)
	t.metrics.answers.Set(float64(len(t.answers)))
}

// resolve moves w to the answer of its present query, and brings that up to date.
func (t *table) resolve(w *watch) {
	client := mesh.Client{Namespace: w.key.namespace, Node: w.key.node}
	if w.key.target.IsInbound() {
		client = mesh.Client{Namespace: w.key.pod.Namespace, Pod: w.key.pod.Name}
	}
	q := model.QueryFor(t.store, t.snap, w.key.target, client)
	if !w.answered || q != w.query {
		a := t.answers[q]
		if a == nil {
			a = &answer{stale: true}
			t.answers[q] = a
		}
		a.refs++
		if w.answered {
			t.unref(w.query)
		}
		w.query, w.answered = q, true
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

// publishTo stores the answer in w's cell, unless it would not change what proxies do.
func (t *table) publishTo(w *watch) {
	value := t.answers[w.query].value
	if value == nil || value == w.published {
		return
	}
	last := w.published
	w.published = value
	if last != nil && answerIn(last).Equal(answerIn(value)) {
		return
	}
	t.metrics.changes.Inc()
	w.cell.Store(value)
}

func answerIn(v *discovery.Value) model.Answer {
	return model.Answer{Outbound: v.Outbound, Inbound: v.Inbound}
}
