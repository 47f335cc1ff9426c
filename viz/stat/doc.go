// Package stat finds the rows of `tulle viz stat`.
//
// It owns which series count for a resource, and which resources have a row. It must not know where the numbers and
// the objects come from. The one idea: without --to and --from, a workload has the numbers that its own proxies counted
// inbound; with one of them, it has those that the clients' proxies counted outbound.
package stat
