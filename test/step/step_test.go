package step

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestDoTellsTheOutcomeAndNamesTheStepInItsError(t *testing.T) {
	var out bytes.Buffer
	p := New(&out)
	if err := p.Do("first", func() (string, error) { return "done so", nil }); err != nil {
		t.Fatal(err)
	}
	cause := errors.New("broken")
	err := p.Do("second", func() (string, error) { return "", cause })
	if !errors.Is(err, cause) || !strings.HasPrefix(err.Error(), "second: ") {
		t.Errorf("got %v, want second: %v", err, cause)
	}
	if got := out.String(); !strings.Contains(got, "ok first: done so (") || !strings.Contains(got, "!! second (") {
		t.Errorf("got %s", got)
	}
}

func TestOutputIsPartOfTheErrorOfAProgramThatFails(t *testing.T) {
	_, err := Output(t.Context(), "", nil, "sh", "-c", "echo the reason >&2; exit 3")
	if err == nil || !strings.Contains(err.Error(), "the reason") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("got %v", err)
	}
	got, err := Output(t.Context(), "", []string{"WORD=tulle"}, "sh", "-c", "echo $WORD; echo noise >&2")
	if got != "tulle" || err != nil {
		t.Errorf("got %q, %v, want the standard output alone", got, err)
	}
}

func TestEventually(t *testing.T) {
	cause := errors.New("not yet")
	t.Run("ends with the first success", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			calls := 0
			err := Eventually(t.Context(), time.Minute, func() error {
				if calls++; calls < 3 {
					return cause
				}
				return nil
			})
			if err != nil || calls != 3 {
				t.Errorf("got %v after %d calls, want success after 3", err, calls)
			}
		})
	})
	t.Run("returns the last error when the time is up", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			begun := time.Now()
			err := Eventually(t.Context(), time.Minute, func() error { return cause })
			if !errors.Is(err, cause) || time.Since(begun) != time.Minute {
				t.Errorf("got %v after %s", err, time.Since(begun))
			}
		})
	})
}
