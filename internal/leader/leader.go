package leader

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// Times of the election. A leader that cannot renew stops writing before another one may start.
const (
	leaseDuration = 15 * time.Second
	renewDeadline = 10 * time.Second
	retryPeriod   = 2 * time.Second
)

// Config of an election. Every field must be set.
type Config struct {
	Client kubernetes.Interface
	// Namespace and Name are of the Lease, which is made if there is none.
	Namespace, Name string
	// Replica tells the replicas apart.
	Replica string
}

// Run runs work whenever this replica is the leader, until ctx ends or work fails, whose error it returns. The context
// that it hands to work ends with the leadership. The lease is given back only after work returned.
func Run(ctx context.Context, c Config, work func(context.Context) error) error {
	for ctx.Err() == nil {
		if err := once(ctx, c, work); err != nil && !errors.Is(err, context.Canceled) {
			return err
		}
	}
	return ctx.Err()
}

func once(ctx context.Context, c Config, work func(context.Context) error) error {
	elected := make(chan context.Context, 1) // at most one election in a run of the elector
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Name: c.Name,
		Lock: &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Namespace: c.Namespace, Name: c.Name},
			Client:     c.Client.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: c.Replica},
		},
		LeaseDuration:   leaseDuration,
		RenewDeadline:   renewDeadline,
		RetryPeriod:     retryPeriod,
		ReleaseOnCancel: true,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(leading context.Context) { elected <- leading },
			OnStoppedLeading: func() {},
		},
	})
	if err != nil {
		return fmt.Errorf("set up leader election: %w", err)
	}
	holding, release := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	var group errgroup.Group
	group.Go(func() error { defer close(ended); elector.Run(holding); return nil })
	group.Go(func() error {
		defer release()
		select {
		case leading := <-elected:
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			defer context.AfterFunc(leading, cancel)()
			return work(ctx)
		case <-ended:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	return group.Wait()
}
