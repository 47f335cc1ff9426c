// Package kube is where the destination controller meets Kubernetes: objects come in as model events, and mistakes go
// out as Events. Package status writes statuses.
//
// It owns watches and their caches; nothing it exports is an informer or a lister. The one idea: what the model does
// not read is dropped before it is cached, and losing something changes nothing. After a lost connection only what
// differs is an event. After the definition of a kind is removed, its objects stay active until it is back.
package kube
