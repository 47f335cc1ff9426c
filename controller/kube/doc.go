// Package kube is where the destination controller meets Kubernetes: objects come in as model events, mistakes go out
// as Events, and what becomes of objects goes out as their status.
//
// It owns watches and their caches, and is the only package of the control loop that imports client-go; nothing it
// exports is an informer or a lister. The one idea: what the model does not read is dropped before it is cached, and
// nothing that is lost changes anything: not a connection, after which only what differs is an event, and not the
// definition of a kind, whose objects stay active until it is back.
package kube
