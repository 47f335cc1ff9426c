// Package model knows all objects together, and derives from them what proxies get.
//
// It owns one record of every object that matters and the indexes between them (Store), what changes rarely and touches
// everything (Snapshot), the answer to one query of one proxy (Resolve), and what became of each object (Outcomes).
// Kubernetes types come in through Apply, mesh values come out. On the way to a proxy, Kubernetes types go no further
// than this package; outcomes keep the parentRef as the object spells it. It never reads a clock, logs, or talks to
// anybody, and it must not import client-go.
//
// The one idea: it is incremental, with invalidation (ADR 0017). An event replaces one record, and names the addresses
// and pods whose answers may differ; caches that it touches are emptied. So the cost of an event does not depend on the
// rest of the cluster. TestIncrementalEqualsFromScratch holds all of that against a store that is built from scratch.
//
// A Store belongs to one goroutine.
package model
