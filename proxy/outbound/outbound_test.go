package outbound

import (
	"testing"
	"time"

	"go.uber.org/zap/zaptest"

	"github.com/tulle-mesh/tulle/internal/latest"
	"github.com/tulle-mesh/tulle/mesh"
	"github.com/tulle-mesh/tulle/proxy/env"
	"github.com/tulle-mesh/tulle/proxy/idle"
	"github.com/tulle-mesh/tulle/proxy/reverify"
	"github.com/tulle-mesh/tulle/proxy/stats"
)

// source is a discovery that has one value for every target.
type source struct {
	cell    latest.Cell[*mesh.Outbound]
	inbound latest.Cell[*mesh.Inbound]
}

func (s *source) Watch(mesh.Target) *latest.Cell[*mesh.Outbound] { return &s.cell }
func (s *source) Unwatch(mesh.Target)                            {}
func (s *source) Inbound() *latest.Cell[*mesh.Inbound]           { return &s.inbound }

// newOutbound makes an Outbound whose engine does not run.
func newOutbound(t testing.TB) (*Outbound, *source) {
	t.Helper()
	pool, err := idle.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pool.Close() })
	e := &env.Env{
		Log: zaptest.NewLogger(t), Stats: stats.NewRegistry(), Started: time.Now(),
		Times: env.Times{OutboundConnect: time.Second, FailFast: time.Second},
	}
	s := &source{}
	return New(Config{Env: e, Reviewer: reverify.New(e), Idle: pool, Source: s}), s
}
