package compile

import (
	"fmt"
	"strings"
	"time"
)

// gatewayDuration reads a duration of the Gateway API: up to four numbers of at most five digits, each with h, m, s or
// ms. Source: GEP-2257.
func gatewayDuration(s string) (time.Duration, error) {
	rest, parts := s, 0
	for rest != "" && parts <= 4 {
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		if digits == 0 || digits > 5 {
			return 0, errGatewayDuration(s)
		}
		rest = rest[digits:]
		switch {
		case strings.HasPrefix(rest, "ms"):
			rest = rest[2:]
		case rest != "" && strings.Contains("hms", rest[:1]):
			rest = rest[1:]
		default:
			return 0, errGatewayDuration(s)
		}
		parts++
	}
	if parts == 0 || parts > 4 {
		return 0, errGatewayDuration(s)
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, errGatewayDuration(s)
	}
	return d, nil
}

func errGatewayDuration(s string) error {
	return fmt.Errorf("%q is not a duration: want up to four numbers with the units h, m, s and ms, such as 1m30s",
		clip(s))
}

// anyDuration reads what people write into annotations and profiles: a duration as Go or the Gateway API write it, or a
// number of days, which Linkerd takes. It is not negative.
func anyDuration(s string) (time.Duration, error) {
	text, unit := s, time.Duration(1)
	if days, ok := strings.CutSuffix(s, "d"); ok {
		text, unit = days+"h", 24
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || d > maxDuration/unit {
		return 0, fmt.Errorf("%q is not a duration: want a number with a unit of ms, s, m, h or d, such as 500ms or "+
			"1m30s, of 365 days at most", clip(s))
	}
	return d * unit, nil
}

// maxDuration is beyond any wait that somebody means.
const maxDuration = 365 * 24 * time.Hour

// clip shortens what users wrote so that it can be shown to people.
func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
