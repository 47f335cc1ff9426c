package tapapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"

	"github.com/tulle-mesh/tulle/viz/tap"
)

// request is what an authorized user watches.
type request struct {
	path
	selector string
	query    tap.Query
}

// watch finds the proxies and streams their events, or returns why not.
func (s *Server) watch(w http.ResponseWriter, r *http.Request, user *user, q request) *refusal {
	pods, err := s.pods(r.Context(), q)
	if err != nil {
		return &refusal{"failed", http.StatusInternalServerError, fmt.Sprintf("list pods: %v", err)}
	}
	targets, notices := s.targets(q.path, pods)
	if len(targets) == 0 {
		return &refusal{"invalid", http.StatusNotFound, noTargetsText(q.path, notices)}
	}
	if len(targets) > tap.MaxTargets {
		return &refusal{"invalid", http.StatusBadRequest, fmt.Sprintf(
			"%d pods: want at most %d; name a workload or labels", len(targets), tap.MaxTargets)}
	}
	targets, full := s.users.subscribe(user.name, targets)
	defer s.users.unsubscribe(user.name, targets)
	if len(targets) == 0 {
		return &refusal{"busy", http.StatusTooManyRequests, fmt.Sprintf(
			"user %q watches each proxy of %s %d times already; end one of these watches first", user.name, q.path,
			maxUserOfProxy)}
	}
	s.cfg.Log.Info("watch began", zap.String("user", user.quoted()), zap.Stringer("of", q.path),
		zap.Int("proxies", len(targets)))
	defer s.cfg.Log.Info("watch ended", zap.String("user", user.quoted()), zap.Stringer("of", q.path))
	s.requests.WithLabelValues("ok").Inc()
	w.Header().Set("Content-Type", tap.ContentType)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusOK)
	s.stream(w, r, user, q.path, func(ctx context.Context, emit func(tap.Message) error) error {
		for _, n := range append(notices, full...) {
			if err := emit(tap.Message{Notice: &n}); err != nil {
				return err
			}
		}
		return s.cfg.Watch(ctx, targets, q.query, emit)
	})
	return nil
}

func (s *Server) pods(ctx context.Context, q request) ([]corev1.Pod, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return s.cfg.Pods(ctx, q.namespace, q.selector)
}

// runner emits messages until its context ends.
type runner func(ctx context.Context, emit func(tap.Message) error) error

// stream writes each message that run emits as one line, until the client goes or the user loses the right. If run
// fails, the client has already got a notice about each proxy.
func (s *Server) stream(w http.ResponseWriter, r *http.Request, user *user, what path, run runner) {
	ctx, end := context.WithCancelCause(r.Context())
	var reviews sync.WaitGroup
	defer reviews.Wait()
	defer end(nil)
	reviews.Go(func() { end(s.review(ctx, user, what)) })

	control, enc := http.NewResponseController(w), json.NewEncoder(w)
	write := func(m tap.Message) error {
		if err := control.SetWriteDeadline(time.Now().Add(s.writeTimeout)); err != nil {
			return err
		}
		if err := enc.Encode(m); err != nil {
			return err
		}
		if err := control.Flush(); err != nil {
			return err
		}
		// HTTP/2 resets the stream at its deadline even if nothing waits to be written: a watch may be quiet for long.
		return control.SetWriteDeadline(time.Time{})
	}
	err := run(ctx, func(m tap.Message) error {
		if ctx.Err() != nil { // nothing is shown after a revocation
			return ctx.Err()
		}
		return write(m)
	})
	var no *revocation
	if errors.As(context.Cause(ctx), &no) {
		s.revoked.WithLabelValues(no.result).Inc()
		s.cfg.Log.Info("watch revoked", zap.String("user", user.quoted()), zap.Stringer("of", what), zap.Error(no))
		err = write(tap.Message{Notice: &tap.Notice{Kind: tap.Revoked, Text: no.text}})
	}
	if err != nil && r.Context().Err() == nil {
		s.cfg.Log.Info("watch failed", zap.Error(err))
	}
}

// revocation is why a watch ends although its client is still there.
type revocation struct{ refusal }

func (r *revocation) Error() string { return r.text }

// review reviews the user's right at each ReviewEvery. It returns a revocation once the user has lost the right, or
// once no review has succeeded for ReviewGrace. It returns nil if ctx ended.
func (s *Server) review(ctx context.Context, user *user, what path) error {
	ticker := time.NewTicker(s.cfg.ReviewEvery)
	defer ticker.Stop()
	for answered := time.Now(); ; {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		no := s.authorize(ctx, user, what)
		switch {
		case ctx.Err() != nil:
			return nil
		case no == nil:
			answered = time.Now()
		case no.result == "denied" || time.Since(answered) >= s.cfg.ReviewGrace:
			return &revocation{*no}
		default:
			s.cfg.Log.Warn("a watch goes on without a review", zap.String("user", user.quoted()),
				zap.Stringer("of", what), zap.String("reason", no.text))
		}
	}
}
