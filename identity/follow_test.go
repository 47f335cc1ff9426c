package identity

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"

	"github.com/tulle-mesh/tulle/identity/ca"
	"github.com/tulle-mesh/tulle/internal/latest"
)

func TestFollowerTellsEachChangeOnceAndLooksAgainByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		anchor, issuer := newPairs(t, time.Now())
		_, early := newPairs(t, time.Now())
		second, err := ca.NewIssuer(anchor, time.Now().Add(10*time.Minute)) // not valid before nine minutes from now
		if err != nil {
			t.Fatal(err)
		}
		var (
			mu      sync.Mutex // guards the variables below
			in      = input{issuerSecret(issuer), rootsMap(anchor)}
			reasons []string
		)
		events := latest.NewSignal()
		f := &follower{
			authority: &latest.Cell[*Authority]{}, log: zap.NewNop(), changed: func() {},
			announce: func(n notice) {
				mu.Lock()
				defer mu.Unlock()
				reasons = append(reasons, n.reason)
			},
		}
		put := func(pair ca.Pair, version string) {
			mu.Lock()
			in.issuer = issuerSecret(pair)
			in.issuer.ResourceVersion = version
			mu.Unlock()
			events.Notify()
			synctest.Wait()
		}
		expect := func(want ...string) {
			t.Helper()
			mu.Lock()
			defer mu.Unlock()
			if diff := cmp.Diff(want, reasons); diff != "" {
				t.Errorf("told (-want +got):\n%s", diff)
			}
			reasons = nil
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		in.issuer.ResourceVersion = "1"
		go func() {
			done <- f.loop(ctx, events, func() input {
				mu.Lock()
				defer mu.Unlock()
				return in
			})
		}()
		synctest.Wait()
		expect()
		put(issuer, "2")
		expect(issuerUpdateSkipped)
		put(early, "3")
		expect(issuerValidationFailed)
		time.Sleep(5 * recheckInterval)
		synctest.Wait()
		expect()
		put(second, "4")
		expect(issuerValidationFailed)
		time.Sleep(5 * recheckInterval)
		synctest.Wait()
		expect(issuerUpdated)
		cancel()
		<-done
	})
}
