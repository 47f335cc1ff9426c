package explain

import (
	"context"
	"testing"
	"time"
)

func TestRetainReadsAgainWhatIsOld(t *testing.T) {
	for ttl, want := range map[time.Duration]int{time.Hour: 1, 0: 3} {
		reads := 0
		retain := Retain(ttl, func(context.Context) (*Model, error) {
			reads++
			return &Model{}, nil
		})
		for range 3 {
			if retained, err := retain(t.Context()); err != nil || retained.Ports("shop", "api") != nil {
				t.Errorf("retained %v, %v", retained, err)
			}
		}
		if reads != want {
			t.Errorf("age %v: %d reads; want %d", ttl, reads, want)
		}
	}
}
