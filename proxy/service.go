package proxy

import (
	"math/rand/v2"
	"net/netip"

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
}
