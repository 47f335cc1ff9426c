package forecast

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// accepted is what an instant may be, for the messages of ParseInstant.
const accepted = "want +30d, +2w, +12h or +90m from now, a date such as 2027-01-01 (its first moment, UTC), or a " +
	"time such as 2027-01-01T12:00:00Z"

// maxAhead bounds an instant: further ahead, times leave what certificates can say.
const maxAhead = 100 * 365 * day

const day = 24 * time.Hour

// ParseInstant reads an instant that is not before now.
func ParseInstant(text string, now time.Time) (time.Time, error) {
	at, err := parseInstant(text, now)
	switch {
	case err != nil:
		return time.Time{}, fmt.Errorf("instant %q: %w; %s", text, err, accepted)
	case at.Before(now):
		return time.Time{}, fmt.Errorf("instant %q is in the past (it is %s now); %s", text, stamp(now), accepted)
	case at.Sub(now) > maxAhead:
		return time.Time{}, fmt.Errorf("instant %q is more than 100 years ahead; %s", text, accepted)
	}
	return at.UTC().Round(0), nil
}

func parseInstant(text string, now time.Time) (time.Time, error) {
	if ahead, ok := strings.CutPrefix(text, "+"); ok {
		d, err := parseAhead(ahead)
		return now.Add(d), err
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, nil
		}
	}
	if _, err := parseAhead(text); err == nil {
		return time.Time{}, fmt.Errorf("it has no sign; did you mean +%s?", text)
	}
	if _, err := time.Parse("2006-01-02T15:04:05", text); err == nil {
		return time.Time{}, fmt.Errorf("it has no time zone; did you mean %sZ?", text)
	}
	return time.Time{}, fmt.Errorf("it is neither a duration, a date nor a time")
}

// parseAhead reads a duration in which days and weeks may stand for themselves.
func parseAhead(text string) (time.Duration, error) {
	units := map[string]time.Duration{"d": day, "w": 7 * day}
	if n := len(text); n > 1 {
		if unit, ok := units[text[n-1:]]; ok {
			count, err := strconv.ParseUint(text[:n-1], 10, 32)
			if err != nil {
				return 0, fmt.Errorf("%q is not a whole number", text[:n-1])
			}
			if count > uint64(maxAhead/unit)+1 {
				return maxAhead + day, nil
			}
			return time.Duration(count) * unit, nil
		}
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || strings.HasPrefix(text, "+") {
		return 0, fmt.Errorf("%q is not a duration", text)
	}
	return d, nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// span writes a duration in days, or in hours and minutes where it is short.
func span(d time.Duration) string {
	switch {
	case d >= 2*day:
		return fmt.Sprintf("%d days", d/day)
	case d >= time.Hour:
		return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
	}
	return fmt.Sprintf("%dm", d/time.Minute)
}
