package proxy

import (
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/balance"
	"github.com/tulle-mesh/tulle/proxy/retry"
	"github.com/tulle-mesh/tulle/proxy/stats"
)

// service is what serves one Service of a target: the target's own, or one that its routes send to. All rules that send there share it,
// and it stays when they change: with its connections, and with what the balancer has learned.
type service struct {
	pool      balance.Pool[*endpoint]
	pace      retry.Pace                   // of requests that may be retried
	endpoints map[netip.AddrPort]*endpoint // guarded by target.mu
	holders   atomic.Int64                 // requests that go there, and withdrawn

	shown sync.Once // for the field below
	hide  func()    // of its metrics
}

// withdrawn is added to the holders of a service that no route of its target sends to any more. It keeps its endpoints until the last of
// the requests that were on their way there has ended.
const withdrawn = 1 << 62

// keep keeps a service's endpoints for a request. It is false if the service is withdrawn: then there is a newer plan. The target's own
// service stays anyway.
func (t *target) keep(s *service) bool {
	if s.holders.Add(1) < withdrawn {
		return true
	}
	t.letGo(s)
	return false
}

// letGo ends keep.
func (t *target) letGo(s *service) {
	if s.holders.Add(-1) == withdrawn {
		t.mu.Lock()
		defer t.mu.Unlock()
		s.empty(t.proxy)
	}
}

// withdraw lets the service's requests end, and then its endpoints go. The caller holds the target's mutex, and its plan knows the
// service no more.
func (s *service) withdraw(p *Proxy) {
	if s.holders.Add(withdrawn) == withdrawn {
		s.empty(p)
	}
}

// empty lets the endpoints go; what is in flight on them ends.
func (s *service) empty(p *Proxy) {
	s.update(p, nil, nil, "")
	s.unshow()
}

// show makes metrics say how many endpoints there are. It is called when requests are sent there: most Services of most targets never
// get one.
func (s *service) show(p *Proxy, labels stats.Labels) {
	s.shown.Do(func() {
		s.hide = p.stats.Balancer(labels, func() stats.Endpoints {
			st := s.pool.States(p.now())
			return stats.Endpoints{Ready: st.Ready, Pending: st.Pending + st.Ejected, Ejected: st.Ejected}
		})
	})
}

func (s *service) unshow() {
	if s.shown.Do(func() {}); s.hide != nil {
		s.hide()
	}
}

func (p *Proxy) newService() *service {
	s := &service{}
	s.pool.Seed(rand.Uint64())
	return s
}

// update takes in the endpoints of a new value. It keeps those that stay.
func (s *service) update(p *Proxy, endpoints []mesh.Endpoint, accrual *mesh.Accrual, labels stats.Labels) {
	old := s.endpoints
	s.endpoints = make(map[netip.AddrPort]*endpoint, len(endpoints))
	list := make([]balance.Endpoint[*endpoint], 0, len(endpoints))
	for _, e := range endpoints {
		ep := old[e.Addr]
		if ep != nil && ep.same(&e) {
			delete(old, e.Addr)
		} else {
			ep = p.newEndpoint(e, labels)
		}
		s.endpoints[e.Addr] = ep
		list = append(list, balance.Endpoint[*endpoint]{Key: e.Addr, Weight: e.Weight, Item: ep})
	}
	s.pool.Update(list, p.now())
	s.pool.SetAccrual(accrual)
	for _, ep := range old {
		ep.close()
	}
}

func (s *service) close() {
	for _, ep := range s.endpoints {
		ep.close()
	}
	s.endpoints = nil
	s.unshow()
}
