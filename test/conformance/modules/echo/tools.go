//go:build tools

// Package echo pins the sources of the application that the conformance suite runs: a client and a server.
package echo

import (
	_ "istio.io/istio/pkg/test/echo/cmd/client"
	_ "istio.io/istio/pkg/test/echo/cmd/server"
)
