// Package main runs a real Kubernetes on one plain Linux machine, without a container engine, an image registry or an
// uplink.
//
// It owns the life of that cluster: binaries, certificates, nodes, networks, images, and the end of all of them. A node
// is one supervisor process in mount, PID, network, UTS and IPC namespaces of its own; every mount, interface and
// process of the node lives in those, so that ending the one recorded process ends them all, also after a crash. It
// must not import the product: it runs anybody's images.
package main
