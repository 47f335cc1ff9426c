package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/tulle-mesh/tulle/mesh"
)

// runShutdown asks the proxy of this pod to end, which it does if its configuration allows it.
func runShutdown(args []string) error {
	flags := flag.NewFlagSet("tulle-proxy shutdown", flag.ContinueOnError)
	addr := flags.String("admin-addr", fmt.Sprintf("localhost:%d", mesh.AdminPort), "admin address of the proxy")
	if err := flags.Parse(args); err != nil {
		return ignoreHelp(err)
	}
	client := http.Client{Timeout: 10 * time.Second}
	res, err := client.Post("http://"+*addr+"/shutdown", "", nil)
	if err != nil {
		return fmt.Errorf("shutdown: %w", err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 1<<10))
	if err != nil {
		return fmt.Errorf("shutdown: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("shutdown: %s: %s", res.Status, strings.TrimSpace(string(body)))
	}
	return nil
}

func ignoreHelp(err error) error {
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	return err
}
