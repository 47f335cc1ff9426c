// Package chart embeds the Helm chart of the control plane.
//
// It owns the chart's files: the templates of all manifests, the definitions of custom resources, and the default
// values. It must not import anything: the controller uses the defaults and must not link Helm. The one idea: this
// folder is the only source of the manifests, for `tulle install` and for Helm.
package chart

import "embed"

// Files are the files of the chart. Paths are relative to its folder.
//
//go:embed Chart.yaml values.yaml values-ha.yaml all:templates definitions
var Files embed.FS

// DefaultValues is values.yaml: all keys with their defaults and documentation.
//
//go:embed values.yaml
var DefaultValues []byte

// HAValues is values-ha.yaml: what high availability changes.
//
//go:embed values-ha.yaml
var HAValues []byte
