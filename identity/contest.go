package identity

import (
	"sync"
	"time"
)

// Bounds of contests.
const (
	// contestDelay is how long the second write of the same copy waits after the first. Each further write waits twice as
	// long, up to contestDelayMax.
	contestDelay    = 100 * time.Millisecond
	contestDelayMax = time.Minute
	// contestCalm is how long a copy must stay unchanged before its next write counts as the first again.
	contestCalm = 10 * time.Minute
	// contestKnown is the number of writes after which the log names the namespace: another writer changes the
	// ConfigMap too.
	contestKnown = 6
)

// contests bounds the writes of copies that another writer keeps changing, such as a controller that manages the same
// ConfigMap. Without a bound both would write as fast as the API server responds. The zero value is ready to use.
type contests struct {
	mu    sync.Mutex // guards the field below
	known map[string]contest
}

// contest has the recent writes to one namespace.
type contest struct {
	bundle  string
	written time.Time
	writes  int
}

// wait returns how long a write of the bundle to the namespace must wait at now; 0 or less means that it is due.
func (c *contests) wait(namespace, bundle string, now time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	last, ok := c.known[namespace]
	if !ok || last.bundle != bundle {
		return 0
	}
	delay := contestDelayMax
	if shift := last.writes - 1; shift < 10 {
		delay = contestDelay << shift
	}
	return last.written.Add(delay).Sub(now)
}

// wrote notes a write. It returns how often the bundle was written there without a calm time in between. It drops the
// notes of calm namespaces.
func (c *contests) wrote(namespace, bundle string, now time.Time) (writes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, last := range c.known {
		if now.Sub(last.written) > contestCalm {
			delete(c.known, name)
		}
	}
	last := c.known[namespace]
	if last.bundle != bundle {
		last = contest{bundle: bundle}
	}
	last.written = now
	last.writes++
	if c.known == nil {
		c.known = map[string]contest{}
	}
	c.known[namespace] = last
	return last.writes
}
