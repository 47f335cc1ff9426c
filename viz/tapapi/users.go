package tapapi

import (
	"fmt"
	"net/http"
	"sync"

	"github.com/tulle-mesh/tulle/viz/tap"
)

// users counts the watches of each user, so one user cannot take all watches, or all subscriptions of a proxy. The zero
// value is ready to use. Several goroutines may call its methods.
type users struct {
	mu      sync.Mutex // guards the fields below
	watches int
	byName  map[string]*usage // users with a watch
}

// usage counts the watches of one user, and the subscriptions to each proxy.
type usage struct {
	watches int
	proxies map[string]int // subscriptions by namespace/name
}

// begin counts one more watch of a user, or returns why it would be one too many. Call end once it has ended.
func (u *users) begin(name string) *refusal {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch own := u.byName[name]; {
	case own != nil && own.watches >= maxUserWatches:
		return &refusal{"busy", http.StatusTooManyRequests, fmt.Sprintf(
			"user %q has %d watches already; end one of them first", name, maxUserWatches)}
	case u.watches >= maxWatches:
		return &refusal{"busy", http.StatusTooManyRequests, fmt.Sprintf(
			"all users together have %d watches already; try again later", maxWatches)}
	case own == nil:
		if u.byName == nil {
			u.byName = map[string]*usage{}
		}
		u.byName[name] = &usage{proxies: map[string]int{}}
	}
	u.byName[name].watches++
	u.watches++
	return nil
}

func (u *users) end(name string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.watches--
	if own := u.byName[name]; own.watches > 1 {
		own.watches--
		return
	}
	delete(u.byName, name)
}

// subscribe counts one more subscription of a user, who has a watch, to each of the targets. It returns those that have
// room, and notices of the others. Call unsubscribe with what it returned.
func (u *users) subscribe(name string, targets []tap.Target) (kept []tap.Target, full []tap.Notice) {
	u.mu.Lock()
	defer u.mu.Unlock()
	proxies := u.byName[name].proxies
	for _, t := range targets {
		proxy := t.Namespace + "/" + t.Pod
		if proxies[proxy] >= maxUserOfProxy {
			full = append(full, tap.Notice{Proxy: proxy, Kind: tap.Unreachable, Text: fmt.Sprintf(
				"user %q watches it %d times already", name, maxUserOfProxy)})
			continue
		}
		proxies[proxy]++
		kept = append(kept, t)
	}
	return kept, full
}

func (u *users) unsubscribe(name string, targets []tap.Target) {
	u.mu.Lock()
	defer u.mu.Unlock()
	proxies := u.byName[name].proxies
	for _, t := range targets {
		proxy := t.Namespace + "/" + t.Pod
		if proxies[proxy]--; proxies[proxy] == 0 {
			delete(proxies, proxy)
		}
	}
}
