package attack

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// rate is how many honest requests each kind of client sends a second.
const rate = 100

// honest is what honest requests saw.
type honest struct {
	sent, failed int
	latencies    []time.Duration
	firstError   error
	sending      time.Duration // from the first request to the end of ctx, as the clients saw it
}

// p99 is the 99th percentile of the latencies from when each request was due.
func (h *honest) p99() time.Duration {
	if len(h.latencies) == 0 {
		return 0
	}
	slices.Sort(h.latencies)
	return h.latencies[len(h.latencies)*99/100]
}

// honestClients are three: a meshed HTTP/1 application, a meshed HTTP/2 application, and a client without a proxy.
func honestClients() map[string]*http.Client {
	h2 := &http.Transport{Protocols: new(http.Protocols)}
	h2.Protocols.SetUnencryptedHTTP2(true)
	unmeshed := &net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(clientAddr, 0))}
	clients := map[string]*http.Client{
		"http://" + outbound.String() + "/":      {Transport: &http.Transport{MaxIdleConnsPerHost: 100}},
		"http://" + outbound.String() + "/?h2":   {Transport: h2},
		"http://" + inbound.String() + "/?plain": {Transport: &http.Transport{DialContext: unmeshed.DialContext, MaxIdleConnsPerHost: 100}},
	}
	for _, c := range clients {
		c.Timeout = 10 * time.Second
	}
	return clients
}

// load sends honest requests at a fixed rate until ctx ends, and waits for the answers. Latencies count from when a
// request was due.
func load(ctx context.Context, clients map[string]*http.Client) *honest {
	h := &honest{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for url, client := range clients {
		wg.Go(func() {
			began := time.Now()
			for n := 0; ; n++ {
				due := began.Add(time.Duration(n) * time.Second / rate)
				select {
				case <-ctx.Done():
					mu.Lock()
					defer mu.Unlock()
					h.sending = max(h.sending, time.Since(began))
					return
				case <-time.After(time.Until(due)):
				}
				wg.Go(func() {
					err := get(client, url)
					took := time.Since(due)
					mu.Lock()
					defer mu.Unlock()
					h.sent++
					h.latencies = append(h.latencies, took)
					if err != nil {
						h.failed++
						h.firstError = err
					}
				})
			}
		})
	}
	wg.Wait()
	return h
}

func get(client *http.Client, url string) error {
	response, err := client.Get(url)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s: %s", url, response.Status, response.Header.Get("Proxy-Status"))
	}
	return nil
}
