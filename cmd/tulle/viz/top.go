package viz

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/gdamore/tcell/v2"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/tulle-mesh/tulle/viz/tap"
	"github.com/tulle-mesh/tulle/viz/tapclient"
	"github.com/tulle-mesh/tulle/viz/top"
)

func (c *commands) topCommand() *cobra.Command {
	var f tapFlags
	var rows top.Rows
	var duration time.Duration
	cmd := &cobra.Command{
		Use:   "top RESOURCE [NAME]",
		Short: "Show which requests are the most frequent, slowest or failing now",
		Long: `top counts the requests of a resource while they happen, by source, destination, method and path, or by route with --routes. q ends
it, the arrow keys scroll, and s sorts by count, worst or last latency, or success rate. Where the output is not a terminal, top
counts for --duration, prints one table and ends.

` + tapTypes + `

It sees what tap sees, so it needs the same, and misses requests beyond --max-rps. stat counts all.`,
		Example: `  tulle viz top deploy/web -n shop
  tulle viz top deploy/web -n shop --to svc/api --routes
  tulle viz top ns/shop --hide-sources --duration 30s | cat`,
		RunE: func(cmd *cobra.Command, args []string) error { return c.top(cmd.Context(), args, f, &rows, duration) },
	}
	f.register(cmd)
	flags := cmd.Flags()
	flags.BoolVar(&rows.Routes, "routes", false, "tell routes apart, instead of methods and paths")
	flags.BoolVar(&rows.HideSources, "hide-sources", false,
		"leave out the column Source, and join the requests of all sources")
	flags.DurationVar(&duration, "duration", 10*time.Second, "how long to count where the output is not a terminal")
	return cmd
}

func (c *commands) top(ctx context.Context, args []string, f tapFlags, rows *top.Rows, duration time.Duration) error {
	if duration <= 0 {
		return fmt.Errorf("--duration %v: want more than 0", duration)
	}
	w, err := c.newWatch(ctx, args, f)
	if err != nil {
		return err
	}
	if file, ok := c.Out.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		return top.Show(ctx, openTerminal, w.target.String(), rows, w.run)
	}
	missed := tapclient.Missed{Print: tapclient.PrintLines(c.Err)}
	err = w.runFor(ctx, duration, func(m tap.Message) error {
		missed.Add(m, time.Now())
		if m.Event != nil {
			rows.Add(m.Event)
		}
		return nil
	})
	missed.Flush()
	some, fault := rows.Write(c.Out)
	switch {
	case fault != nil:
		return fault
	case !some && err == nil:
		fmt.Fprintln(c.Err, noTraffic)
	}
	return err
}

func openTerminal() (tcell.Screen, error) {
	screen, err := tcell.NewScreen()
	if err != nil {
		return nil, fmt.Errorf("open the terminal: %w; `| cat` prints a table without one", err)
	}
	return screen, nil
}
