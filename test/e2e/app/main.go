// Command app is both ends of the end-to-end tests: a server that speaks everything the mesh must carry, and a client
// that says in JSON what it saw. It is built into an image of its own and driven with kubectl exec.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"strings"
)

var commands = map[string]func(args []string) error{
	"serve": serve,
	"http":  httpCommand,
	"load":  loadCommand,
	"grpc":  grpcCommand,
	"ws":    websocketCommand,
	"tcp":   tcpCommand,
	"tls":   tlsCommand,

	"neighbour": neighbourCommand,

	"table": tableCommand,

	"lifeline": lifelineCommand,

	"origin":  originCommand,
	"forward": forwardCommand,
	"calls":   callsCommand,

	// These run in a pod that shares the node's namespaces.
	"sleep":   sleepCommand,
	"capture": captureCommand,
	"kill":    killCommand,
	"spiffe":  spiffeCommand,
}

func main() {
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr,
			"usage: app serve|http|load|grpc|ws|tcp|tls|table|lifeline|origin|forward|calls|spiffe|capture|kill [flags]")
		os.Exit(2)
	}
	if err := commands[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "app:", err)
		os.Exit(1)
	}
}

func flags(name string) *flag.FlagSet { return flag.NewFlagSet(name, flag.ExitOnError) }

func printJSON(v any) error {
	out, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = fmt.Println(string(out))
	return err
}

// headerList is a repeatable flag "Name: value".
type headerList []string

func (h *headerList) String() string     { return strings.Join(*h, ", ") }
func (h *headerList) Set(v string) error { *h = append(*h, v); return nil }

// addTo adds the headers to a request; Host becomes its authority.
func (h headerList) addTo(req *http.Request) {
	for _, line := range h {
		name, value, _ := strings.Cut(line, ":")
		if strings.EqualFold(name, "host") {
			req.Host = strings.TrimSpace(value)
			continue
		}
		req.Header.Add(name, strings.TrimSpace(value))
	}
}
