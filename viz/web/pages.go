package web

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/tulle-mesh/tulle/viz/board"
	"github.com/tulle-mesh/tulle/viz/metrics"
)

// pages are the pages of /api/page and /api/stream by name. A new page is a line here.
var pages = map[string]pageFunc{
	"overview": page(board.Overview),
	"topology": page(board.Topology),
	"policies": page(board.Policies),
	"health":   page(board.Health),
	"tap":      page(board.Tap),
	"workload": page(board.Workload),
	"service":  page(board.Service),
	"history":  page(board.History),
}

// pageFunc returns the value of a page.
type pageFunc func(context.Context, board.Sources, board.Query) (any, error)

func page[P any](of func(context.Context, board.Sources, board.Query) (P, error)) pageFunc {
	return func(ctx context.Context, s board.Sources, q board.Query) (any, error) { return of(ctx, s, q) }
}

const (
	defaultWindow = time.Minute
	// maxWindow is how long the extension's Prometheus stores numbers.
	maxWindow = 6 * time.Hour
)

// readQuery returns the page and the query that the parameters of a request name. Its error is a *board.Refusal.
func readQuery(params url.Values) (pageFunc, board.Query, error) {
	refuse := func(format string, args ...any) (pageFunc, board.Query, error) {
		return nil, board.Query{}, &board.Refusal{Code: board.BadRequest, Message: fmt.Sprintf(format, args...)}
	}
	build, ok := pages[params.Get("page")]
	if !ok {
		return refuse("page %q: no page has this name", metrics.Printable(params.Get("page"), 100))
	}
	q := board.Query{Namespace: params.Get("namespace"), Kind: params.Get("kind"), Name: params.Get("name"),
		Window: defaultWindow, Params: params}
	if text := params.Get("window"); text != "" {
		window, err := time.ParseDuration(text)
		if err != nil || window < metrics.MinWindow || window > maxWindow {
			return refuse("window %q: want a time from %v to %s, such as 1m", metrics.Printable(text, 100), metrics.MinWindow,
				board.WindowText(maxWindow))
		}
		q.Window = window
	}
	for name, values := range params {
		for _, value := range values {
			if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' }) {
				return refuse("parameter %q: it has control characters", metrics.Printable(name, 100))
			}
		}
	}
	return build, q, nil
}
