package status

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	clienttesting "k8s.io/client-go/testing"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/tulle-mesh/tulle/controller/model"
)

// writing is a cluster with a writer of statuses and n routes.
type writing struct {
	*cluster
	writer  *Writer
	patches atomic.Int64
	// refuse, when set, answers patches in the API server's place.
	refuse func() error
}

func newWriting(c *cluster, n int) *writing {
	w := &writing{cluster: c}
	w.writer = NewWriter(c.config, c.watcher, "tulle", "replica-1")
	c.objects.PrependReactor("patch", "*", func(clienttesting.Action) (bool, runtime.Object, error) {
		w.patches.Add(1)
		if w.refuse != nil {
			if err := w.refuse(); err != nil {
				return true, nil, err
			}
		}
		return false, nil, nil
	})
	c.define()
	for i := range n {
		c.create(routeName(i))
	}
	c.run()
	return w
}

func routeName(i int) string { return fmt.Sprint("route-", i) }

// startLeading runs the writer until the returned function is called.
func (w *writing) startLeading() (stop func()) {
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan error, 1)
	go func() { done <- w.writer.Run(ctx) }()
	synctest.Wait()
	stop = func() {
		cancel()
		<-done
	}
	w.t.Cleanup(cancel)
	return stop
}

// say has the writer know what the status of a route should be.
func (w *writing) say(i int, generation int64, message string) {
	w.writer.Publish([]model.Outcome{{
		Object:     model.ObjectRef{Group: gatewayv1.GroupName, Kind: "HTTPRoute", Namespace: "shop", Name: routeName(i)},
		Generation: generation,
		Parents:    []model.ParentOutcome{{Ref: ref("web"), Result: model.Result{Note: message}}},
	}})
}

// message is what the status of a route says at the API server; "" without one.
func (w *writing) message(i int) string {
	o, err := w.objects.Tracker().Get(routes, "shop", routeName(i))
	w.must(err)
	u, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	w.must(err)
	var r gatewayv1.HTTPRoute
	w.must(runtime.DefaultUnstructuredConverter.FromUnstructured(u, &r))
	if len(r.Status.Parents) == 0 {
		return ""
	}
	return fmt.Sprint(r.Status.Parents[0].Conditions[0].Message, r.Status.Parents[0].Conditions[0].ObservedGeneration)
}

func (w *writing) says(i int, want string) {
	w.t.Helper()
	time.Sleep(time.Minute)
	synctest.Wait()
	if got := w.message(i); got != want {
		w.t.Errorf("status of %s says %q, want %q", routeName(i), got, want)
	}
}

func (w *writing) result(name string) float64 {
	return testutil.ToFloat64(w.writer.metrics.writes.WithLabelValues(name))
}

func TestStatusIsWrittenOnce(t *testing.T) {
	bubble(t, func(t *testing.T, c *cluster) {
		w := newWriting(c, 1)
		defer w.startLeading()()
		w.say(0, 1, "fine")
		w.says(0, "fine1")
		w.say(0, 1, "fine")
		w.says(0, "fine1")
		if got := w.patches.Load(); got != 1 {
			t.Errorf("%d patches, want 1", got)
		}
	})
}

func TestStatusThatSomebodyOverwritesIsWrittenAgain(t *testing.T) {
	bubble(t, func(t *testing.T, c *cluster) {
		w := newWriting(c, 1)
		defer w.startLeading()()
		w.say(0, 1, "fine")
		w.says(0, "fine1")
		w.update(routeName(0), 1)
		w.says(0, "fine1")
	})
}

// TestOnlyTheLeaderWrites has the status be known before this replica leads.
func TestOnlyTheLeaderWrites(t *testing.T) {
	bubble(t, func(t *testing.T, c *cluster) {
		w := newWriting(c, 1)
		w.say(0, 1, "fine")
		w.says(0, "")
		stop := w.startLeading()
		w.says(0, "fine1")
		stop()
		w.say(0, 1, "better")
		w.says(0, "fine1")
		defer w.startLeading()()
		w.says(0, "better1")
	})
}

func TestStatusOfAnOlderGenerationIsNotWritten(t *testing.T) {
	bubble(t, func(t *testing.T, c *cluster) {
		w := newWriting(c, 1)
		defer w.startLeading()()
		w.update(routeName(0), 2)
		w.rest()
		w.say(0, 1, "late")
		w.says(0, "")
		w.say(0, 2, "fine")
		w.says(0, "fine2")
	})
}

// TestAbsenceOfTheAPIServerPilesUpNothing has a status change 100 times while writes fail: the last one is written,
// once.
func TestAbsenceOfTheAPIServerPilesUpNothing(t *testing.T) {
	bubble(t, func(t *testing.T, c *cluster) {
		w := newWriting(c, 1)
		defer w.startLeading()()
		var away atomic.Bool
		away.Store(true)
		w.refuse = func() error {
			if away.Load() {
				return apierrors.NewServiceUnavailable("away")
			}
			return nil
		}
		for i := range 100 {
			w.say(0, 1, fmt.Sprint(i))
			time.Sleep(3 * time.Second)
		}
		failed := w.result(resultFailed)
		if failed == 0 || failed > 120 {
			t.Errorf("%v attempts in 5 minutes, want about one for each change", failed)
		}
		away.Store(false)
		before := w.patches.Load()
		time.Sleep(lastRetry)
		w.says(0, "991")
		if got := w.patches.Load() - before; got != 1 {
			t.Errorf("%d patches afterwards, want 1", got)
		}
	})
}

func TestConflictsAndDeletedObjectsAreNoFailures(t *testing.T) {
	bubble(t, func(t *testing.T, c *cluster) {
		w := newWriting(c, 2)
		defer w.startLeading()()
		answers := make(chan error, 2)
		answers <- apierrors.NewConflict(routes.GroupResource(), routeName(0), fmt.Errorf("changed"))
		w.refuse = func() error {
			select {
			case err := <-answers:
				return err
			default:
				return nil
			}
		}
		w.say(0, 1, "fine")
		w.says(0, "fine1")
		answers <- apierrors.NewNotFound(routes.GroupResource(), routeName(1))
		w.say(1, 1, "fine")
		w.says(1, "")
		if w.result(resultConflict) != 1 || w.result(resultGone) != 1 || w.result(resultFailed) != 0 {
			t.Errorf("%v conflicts, %v gone, %v failed; want 1, 1, 0", w.result(resultConflict), w.result(resultGone),
				w.result(resultFailed))
		}
	})
}

// TestWritesAreBoundedAndQuick has 1000 statuses change at once: the API server sees the burst, and then the rate, and
// all within ten seconds.
func TestWritesAreBoundedAndQuick(t *testing.T) {
	bubble(t, func(t *testing.T, c *cluster) {
		const n = 1000
		w := newWriting(c, n)
		defer w.startLeading()()
		time.Sleep(time.Minute)
		for i := range n {
			w.say(i, 1, "fine")
			if i%50 == 49 {
				time.Sleep(time.Millisecond) // the fake's watches hold no more than 100 events
			}
		}
		for _, after := range []struct {
			wait        time.Duration
			least, most int64
		}{
			{2 * time.Second, writeBurst + writeRate, writeBurst + 2*writeRate + writers},
			{8 * time.Second, n, n},
		} {
			time.Sleep(after.wait + time.Millisecond)
			synctest.Wait()
			if got := w.patches.Load(); got < after.least || got > after.most {
				t.Errorf("%d patches after %v more, want %d to %d", got, after.wait, after.least, after.most)
			}
		}
		w.says(n-1, "fine1")
		w.says(0, "fine1")
	})
}
