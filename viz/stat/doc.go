// Package stat finds the rows of `tulle viz stat`.
//
// It owns which series count for a resource, and which resources have a row. It must not know where the numbers and
// the objects come from. The one idea: a resource's own numbers are those that its pods' proxies saw inbound; with
// another end given, they are what the client's proxies saw outbound.
package stat
