package main

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// get is a client for people: it sits in the image because the image has no shell and no curl.
func getCommand() *cobra.Command {
	var (
		count   int
		headers []string
		method  string
	)
	cmd := &cobra.Command{
		Use: "get URL", Short: "send requests and count the answers", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client := &http.Client{
				Timeout:       30 * time.Second,
				CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			}
			answers := map[string]int{}
			begun := time.Now()
			for range count {
				request, err := http.NewRequestWithContext(cmd.Context(), method, args[0], nil)
				if err != nil {
					return err
				}
				for _, h := range headers {
					name, value, _ := strings.Cut(h, ":")
					request.Header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
				}
				answers[answerOf(client.Do(request))]++
			}
			for _, a := range slices.Sorted(maps.Keys(answers)) {
				fmt.Printf("%6d  %s\n", answers[a], a)
			}
			fmt.Printf("in %s\n", time.Since(begun).Round(10*time.Millisecond))
			return nil
		},
	}
	flags := cmd.Flags()
	flags.IntVarP(&count, "count", "c", 1, "how many requests, one after the other")
	flags.StringArrayVarP(&headers, "header", "H", nil, "a header, \"name: value\"")
	flags.StringVarP(&method, "method", "X", http.MethodGet, "the method")
	return cmd
}

// answerOf sums up an answer in a line: status, who served it if it says so, and why the mesh refused it if it did.
func answerOf(response *http.Response, err error) string {
	if err != nil {
		return err.Error()
	}
	defer func() { _ = response.Body.Close() }()
	body, _ := io.ReadAll(io.LimitReader(response.Body, 256))
	_, _ = io.Copy(io.Discard, response.Body)
	line := response.Status
	if version := response.Header.Get("X-Version"); version != "" {
		line += " from " + version
	}
	if location := response.Header.Get("Location"); location != "" {
		line += " to " + location
	}
	if reason := response.Header.Get("L5d-Proxy-Error"); reason != "" {
		line += ": " + reason
	} else if strings.HasPrefix(response.Header.Get("Proxy-Status"), "tulle-proxy") {
		// to a client without identity it says less
		line += ": " + strings.TrimSpace(string(body))
	}
	return line
}
