package leader

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"
	"k8s.io/client-go/kubernetes/fake"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestOneReplicaWritesAndAnotherTakesOver(t *testing.T) { synctest.Test(t, testTakeOver) }

func testTakeOver(t *testing.T) {
	client := fake.NewClientset()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	leading := make(chan string)
	replica := func(ctx context.Context, name string) chan error {
		done := make(chan error, 1)
		go func() {
			done <- Run(ctx, Config{Client: client, Namespace: "tulle", Name: "writer", Replica: name},
				func(ctx context.Context) error {
					leading <- name
					<-ctx.Done()
					return ctx.Err()
				})
		}()
		return done
	}
	first, resign := context.WithCancel(ctx)
	a := replica(first, "a")
	if got := <-leading; got != "a" {
		t.Fatalf("%s leads", got)
	}
	b := replica(ctx, "b")
	resign()
	if err := <-a; !errors.Is(err, context.Canceled) {
		t.Errorf("a: %v", err)
	}
	if got := <-leading; got != "b" {
		t.Errorf("%s leads after a", got)
	}
	cancel()
	if err := <-b; !errors.Is(err, context.Canceled) {
		t.Errorf("b: %v", err)
	}
}

func TestWorkThatFailsEndsTheElection(t *testing.T) {
	want := errors.New("broken")
	c := Config{Client: fake.NewClientset(), Namespace: "tulle", Name: "writer", Replica: "a"}
	if err := Run(t.Context(), c, func(context.Context) error { return want }); !errors.Is(err, want) {
		t.Errorf("got %v, want %v", err, want)
	}
}
