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

// Times of the election. A leader that cannot renew the Lease stops writing before another one may start.
const (
	leaseDuration = 15 * time.Second
	renewDeadline = 10 * time.Second
	retryPeriod   = 2 * time.Second
)

// Config configures an election. All fields must be set.
type Config struct {
	Client kubernetes.Interface
	// Namespace and Name are those of the Lease. Run creates it if it is missing.
	Namespace, Name string
	// Replica is the unique name of this replica.
	Replica string
}

// Run calls work whenever this replica is the leader, until ctx ends or work fails. It returns work's error. The
// context of work ends with the leadership. Run releases the Lease only after work has returned.
func Run(ctx context.Context, c Config, work func(context.Context) error) error {
	for ctx.Err() == nil {
		if err := once(ctx, c, work); err != nil && !errors.Is(err, context.Canceled) {
			return err
		}
	}
	return ctx.Err()
}

func once(ctx context.Context, c Config, work func(context.Context) error) error {
	elected := make(chan context.Context, 1) // the elector elects at most once in each run
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
