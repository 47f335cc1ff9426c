// Package attack measures what attacks on a pair of proxies cost honest traffic: memory of the proxies, and success and
// latency of honest requests, before and during each attack. `make attack` writes the figures to docs/attacks.md; the
// tests hold the bounds. Everything runs in a network namespace of its own, with real processes: the proxy as it ships,
// an application, honest clients and an attacker at an address of its own. Attacks are bounded in connections, rate and
// time.
package attack
