package compile

import (
	"testing"
	"time"
)

func TestGatewayDuration(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       time.Duration
		wrong      bool
	}{
		{name: "one unit", text: "10s", want: 10 * time.Second},
		{name: "milliseconds", text: "500ms", want: 500 * time.Millisecond},
		{name: "several units", text: "1h2m3s4ms", want: time.Hour + 2*time.Minute + 3*time.Second + 4*time.Millisecond},
		{name: "a unit again", text: "1s1s", want: 2 * time.Second},
		{name: "none", text: "0s", want: 0},
		{name: "the longest", text: "99999h", want: 99999 * time.Hour},
		{name: "five units", text: "1h1m1s1ms1s", wrong: true},
		{name: "six digits", text: "100000s", wrong: true},
		{name: "fraction", text: "1.5s", wrong: true},
		{name: "negative", text: "-1s", wrong: true},
		{name: "no unit", text: "5", wrong: true},
		{name: "another unit", text: "5us", wrong: true},
		{name: "space", text: "1h 2m", wrong: true},
		{name: "empty", text: "", wrong: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := gatewayDuration(c.text)
			if (err != nil) != c.wrong || got != c.want {
				t.Errorf("got %v, %v; want %v, wrong %v", got, err, c.want, c.wrong)
			}
		})
	}
}

func TestAnyDuration(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       time.Duration
		wrong      bool
	}{
		{name: "as Go writes it", text: "1m30s", want: 90 * time.Second},
		{name: "fraction", text: "0.5s", want: 500 * time.Millisecond},
		{name: "days, as Linkerd takes them", text: "2d", want: 48 * time.Hour},
		{name: "a year", text: "365d", want: 365 * 24 * time.Hour},
		{name: "more than a year", text: "366d", wrong: true},
		{name: "days that overflow", text: "2500000d", wrong: true},
		{name: "negative", text: "-1s", wrong: true},
		{name: "negative days", text: "-1d", wrong: true},
		{name: "no unit", text: "5", wrong: true},
		{name: "unit alone", text: "d", wrong: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := anyDuration(c.text)
			if (err != nil) != c.wrong || got != c.want {
				t.Errorf("got %v, %v; want %v, wrong %v", got, err, c.want, c.wrong)
			}
		})
	}
}

// FuzzGatewayDuration shows that what is a duration of the Gateway API is one of Go's that is not negative.
func FuzzGatewayDuration(f *testing.F) {
	for _, s := range []string{"1h2m3s4ms", "0s", "1.5s", "", "99999h99999h99999h99999h"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := gatewayDuration(s)
		if err != nil {
			return
		}
		if same, err := time.ParseDuration(s); err != nil || same != d || d < 0 {
			t.Errorf("%q: %v, and Go says %v, %v", s, d, same, err)
		}
	})
}
