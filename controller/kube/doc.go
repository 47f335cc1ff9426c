// Package kube is where the destination controller meets Kubernetes: objects come in as model events, mistakes go out as Events.
//
// It owns informers and their caches, and is the only package of the control loop that imports client-go; nothing it exports is an
// informer or a lister. The one idea: what the model does not read is dropped before it is cached, and a lost connection changes
// nothing: the caches stand until a new list says otherwise, and then only what differs is an event.
package kube
