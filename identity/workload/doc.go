// Package workload is the client half of identity: a workload's key and certificate, the active trust anchors, and the
// TLS configurations made of them. Proxies and the destination controller share it.
//
// It must not import anything of the control plane or of Kubernetes. The one idea: everything that a handshake needs is
// one immutable value behind one atomic pointer. The goroutine of Manager.Run replaces it and every handshake reads it,
// so a renewal or a rotation of the trust anchors takes effect at the next handshake and never interrupts a connection.
// An owner of open connections asks Anchors whether they are still valid. Without a valid certificate or without
// anchors no handshake succeeds.
package workload
