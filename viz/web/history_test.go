package web

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tulle-mesh/tulle/viz/metrics"
)

// TestCacheHistoryForgets: an old answer is let go, and moments share what they have in common.
func TestCacheHistoryForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var freed atomic.Int64
		ask := CacheHistory(func(context.Context, metrics.HistoryRequest) (metrics.History, error) {
			labels := map[string]string{"le": "1"}
			first := metrics.Moment{Samples: [][]metrics.Sample{{{Labels: labels, Value: 1}}}}
			second := metrics.Moment{Samples: [][]metrics.Sample{{{Labels: maps.Clone(labels), Value: 2},
				{Labels: map[string]string{"le": "2"}, Value: 3}}}}
			runtime.AddCleanup(&second.Samples[0][0], func(struct{}) { freed.Add(1) }, struct{}{})
			return metrics.History{Moments: []metrics.Moment{first, second}}, nil
		})
		h, err := ask(t.Context(), metrics.HistoryRequest{Step: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		first, second := h.Moments[0].Samples[0], h.Moments[1].Samples[0]
		if reflect.ValueOf(first[0].Labels).Pointer() != reflect.ValueOf(second[0].Labels).Pointer() {
			t.Error("the moments have labels of their own")
		}
		if second[0].Value != 2 || second[1].Labels["le"] != "2" || second[1].Value != 3 {
			t.Errorf("the answer is changed: %v", second)
		}
		h, first, second = metrics.History{}, nil, nil
		time.Sleep(time.Minute + time.Second)
		synctest.Wait()
		for range 100 {
			if runtime.GC(); freed.Load() > 0 {
				break
			}
		}
		if freed.Load() == 0 {
			t.Error("the answer is kept")
		}
		runtime.KeepAlive(ask)
	})
}

func TestCacheHistoryAsksAgainAfterTheStep(t *testing.T) {
	asked := 0
	ask := CacheHistory(func(context.Context, metrics.HistoryRequest) (metrics.History, error) {
		asked++
		if asked == 1 {
			return metrics.History{}, errors.New("failed")
		}
		return metrics.History{Notes: []string{fmt.Sprint(asked)}}, nil
	})
	request := metrics.HistoryRequest{Step: time.Hour}
	if _, err := ask(t.Context(), request); err == nil {
		t.Error("the error is lost")
	}
	for range 3 {
		if h, err := ask(t.Context(), request); err != nil || h.Notes[0] != "2" {
			t.Errorf("history %v, %v", h, err)
		}
	}
	if h, err := ask(t.Context(), metrics.HistoryRequest{}); err != nil || h.Notes[0] != "3" {
		t.Errorf("another request: %v, %v", h, err)
	}
}

// TestOldHistoryHoldsNobodyUp: dropping an answer waits for the same request that runs again, and nobody else does.
func TestOldHistoryHoldsNobodyUp(t *testing.T) {
	h := &histories{all: map[string]*keptHistory{}}
	slow := h.find("slow")
	slow.mu.Lock() // as during a request
	dropped := make(chan struct{})
	go func() {
		defer close(dropped)
		h.drop("slow", slow, time.Minute)
	}()
	for range 1000 { // drop begins in one of them
		runtime.Gosched()
		h.find("other")
	}
	slow.mu.Unlock()
	<-dropped
	if h.all["slow"] != nil || h.all["other"] == nil {
		t.Errorf("stored: %v", h.all)
	}
}
