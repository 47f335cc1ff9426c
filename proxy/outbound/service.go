package outbound

import (
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/balance"
	"github.com/tulle-mesh/tulle/proxy/env"
	"github.com/tulle-mesh/tulle/proxy/forward"
	"github.com/tulle-mesh/tulle/proxy/retry"
	"github.com/tulle-mesh/tulle/proxy/stats"
)

// service is one Service of a target: the target's own, or one that its routes send to. All rules that send to it share
// it. It stays when they change, with its connections and with what the balancer has learned.
type service struct {
	env       *env.Env
	engine    *forward.Engine
	pool      balance.Pool[*endpoint]
	pace      retry.Pace                   // of requests that may be retried
	endpoints map[netip.AddrPort]*endpoint // guarded by target.mu
	round     uint32                       // counts updates; guarded by target.mu
	holders   atomic.Int64                 // requests that go there, plus withdrawn if it is

	http, tcp balancerMetrics // of the pool, by what it balances
}

// balancerMetrics are the metrics of a balancer. They are made at its first request or connection: most Services of
// most targets never get one.
type balancerMetrics struct {
	mu       sync.Mutex // guards the fields below
	balancer *stats.Balancer
	parent   mesh.ServiceRef // the Service that the target was when balancer was made
	release  func()
	closed   bool
}

// withdrawn is added to the holders of a service that no route of its target sends to any more. It keeps its endpoints
// until the last of the requests that were on their way there has ended.
const withdrawn = 1 << 62

// acquireService keeps a service's endpoints for a request until releaseService. It is false if the service is
// withdrawn: then there is a newer routing. The target's own service stays anyway.
func (t *target) acquireService(s *service) bool {
	if s.holders.Add(1) < withdrawn {
		return true
	}
	t.releaseService(s)
	return false
}

// releaseService ends acquireService.
func (t *target) releaseService(s *service) {
	if s.holders.Add(-1) == withdrawn {
		t.mu.Lock()
		defer t.mu.Unlock()
		s.empty()
	}
}

// withdraw removes the service's endpoints once its requests have ended. The caller holds the target's mutex, and its
// routing no longer knows the service.
func (s *service) withdraw() {
	if s.holders.Add(withdrawn) == withdrawn {
		s.empty()
	}
}

// empty removes the endpoints. Requests in flight on them end first.
func (s *service) empty() {
	s.update(nil, nil, "")
	s.http.close()
	s.tcp.close()
}

// metrics returns the metrics m of the service's balancer, for a target that is the Service parent. It makes them at
// their first use, and again if the target was another Service before. They are nil if the service was withdrawn.
func (s *service) metrics(m *balancerMetrics, parent mesh.ServiceRef, labels func() stats.Labels) *stats.Balancer {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || m.balancer != nil && m.parent == parent {
		return m.balancer
	}
	if m.release != nil {
		m.release()
	}
	m.parent = parent
	m.balancer, m.release = s.env.Stats.Balancer(stats.BalancerConfig{
		Labels: labels(), TCP: m == &s.tcp, Timeout: s.env.Times.FailFast,
		States: func() stats.Endpoints {
			st := s.pool.States(s.env.Now())
			return stats.Endpoints{Ready: st.Ready, Pending: st.Pending + st.Ejected, Ejected: st.Ejected}
		},
	})
	return m.balancer
}

// update counts a change of the endpoints.
func (m *balancerMetrics) update(c stats.Change, endpoints int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.balancer.Update(c, endpoints)
}

func (m *balancerMetrics) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.release != nil && !m.closed {
		m.release()
	}
	m.closed = true
}

func newService(e *env.Env, engine *forward.Engine) *service {
	s := &service{env: e, engine: engine}
	s.pool.Seed(rand.Uint64())
	return s
}

// update applies the endpoints of a new value. It keeps those that stay.
func (s *service) update(endpoints []mesh.Endpoint, accrual *mesh.Accrual, labels stats.Labels) {
	list, added, removed := s.replace(endpoints, labels)
	s.pool.Update(list, s.env.Now())
	s.pool.SetAccrual(accrual)
	if added || len(removed) > 0 {
		change := changeOf(added, len(removed) > 0)
		s.http.update(change, len(endpoints))
		s.tcp.update(change, len(endpoints))
	}
	for _, ep := range removed {
		ep.close()
	}
}

// replace replaces the service's endpoints by those of a new value, and keeps those that stay. It returns the
// balancer's list of them, whether some were added, and which were removed.
func (s *service) replace(endpoints []mesh.Endpoint, labels stats.Labels) (
	list []balance.Endpoint[*endpoint], added bool, removed []*endpoint,
) {
	if s.endpoints == nil {
		s.endpoints = make(map[netip.AddrPort]*endpoint, len(endpoints))
	}
	s.round++
	list = make([]balance.Endpoint[*endpoint], 0, len(endpoints))
	for i := range endpoints {
		e := &endpoints[i]
		ep := s.endpoints[e.Addr]
		if ep == nil || !ep.same(e, labels) {
			if ep != nil {
				removed = append(removed, ep)
			}
			ep = s.newEndpoint(*e, labels)
			s.endpoints[e.Addr] = ep
			added = true
		}
		ep.round = s.round
		list = append(list, balance.Endpoint[*endpoint]{Key: e.Addr, Weight: e.Weight, Item: ep})
	}
	for addr, ep := range s.endpoints {
		if ep.round != s.round {
			delete(s.endpoints, addr)
			removed = append(removed, ep)
		}
	}
	return list, added, removed
}

// changeOf returns what an update did to the endpoints.
func changeOf(added, removed bool) stats.Change {
	switch {
	case !removed:
		return stats.Add
	case !added:
		return stats.Remove
	default:
		return stats.Reset
	}
}

func (s *service) close() {
	for _, ep := range s.endpoints {
		ep.close()
	}
	s.endpoints = nil
	s.http.close()
	s.tcp.close()
}
