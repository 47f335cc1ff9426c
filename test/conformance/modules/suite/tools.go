//go:build tools

// Package suite pins the version of Gateway API and of its conformance suite, which is built from this folder.
package suite

import (
	_ "sigs.k8s.io/gateway-api/apis/v1"
	_ "sigs.k8s.io/gateway-api/conformance"
)
