// Package certs holds a workload's identity: its key and certificate, the trust anchors in force, and the TLS configurations made of
// them. Proxies and the destination controller share it.
//
// It must not import anything of the control plane or of Kubernetes. The one idea: everything that a handshake needs is one immutable
// value behind one atomic pointer, replaced by the one goroutine of Manager.Run and read by every handshake, so a renewal or a
// rotation of the trust anchors takes effect at the next handshake and never interrupts a connection: whoever has open ones asks
// Anchors whether they still stand. What cannot be proved is refused: without a valid certificate or without anchors no handshake succeeds.
package certs
