// Package discovery serves proxies: one stream a proxy, on which it watches targets and gets their values.
//
// It owns who may ask, how much, and how values get onto the wire; what they are comes from a Source. It must not
// import Kubernetes or package model. The one idea: a stream keeps no queue of values. It keeps the set of its watches
// that have something new, and sends the latest value of each when the peer can take it, so a slow proxy costs nobody
// anything and never sees an old value after a newer one. A value is put into bytes once, however many proxies it goes
// to, and a large one that keeps changing rests between two sends.
package discovery
