// Package workload is the client half of identity. Proxies and the destination controller share it.
//
// It owns a workload's key and certificate, the active trust anchors, and the TLS configurations made from them. It
// must not import any package of the control plane or of Kubernetes. The one idea: everything that a handshake needs is
// one immutable value behind one atomic pointer. The goroutine of Manager.Run replaces the value and every handshake
// reads it. So a renewal or a rotation of the trust anchors applies from the next handshake and never interrupts a
// connection. An owner of open connections asks Anchors whether they are still valid. Without a valid certificate or
// without anchors no handshake succeeds.
package workload
