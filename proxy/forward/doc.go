// Package forward is the HTTP engine: it moves messages between connections.
package forward
