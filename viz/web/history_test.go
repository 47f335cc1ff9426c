package web

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/viz/metrics"
)

func TestKeepHistoryAsksAgainAfterTheStep(t *testing.T) {
	asked := 0
	keep := KeepHistory(func(context.Context, metrics.HistoryRequest) (metrics.History, error) {
		asked++
		if asked == 1 {
			return metrics.History{}, errors.New("failed")
		}
		return metrics.History{Notes: []string{fmt.Sprint(asked)}}, nil
	})
	request := metrics.HistoryRequest{Step: time.Hour}
	if _, err := keep(t.Context(), request); err == nil {
		t.Error("the error is lost")
	}
	for range 3 {
		if h, err := keep(t.Context(), request); err != nil || h.Notes[0] != "2" {
			t.Errorf("history %v, %v", h, err)
		}
	}
	if h, err := keep(t.Context(), metrics.HistoryRequest{}); err != nil || h.Notes[0] != "3" {
		t.Errorf("another request: %v, %v", h, err)
	}
}
