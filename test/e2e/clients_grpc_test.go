package e2e

import (
	"maps"
	"strings"
	"sync"
	"testing"
)

// grpcClients run the same cases with their libraries' defaults.
var grpcClients = []struct {
	name    string
	command []string // with the host at the end
}{
	{"grpc-go", []string{"/app", "calls", "-host"}},
	{"grpcio", []string{"python3", "/clients/calls.py"}},
}

// The statuses of streams that the server resets before the response head are those of gRPC over HTTP/2, section
// "Errors".
var grpcOutcomes = map[string]string{
	"unary call":                  "OK",
	"bidi stream":                 "OK",
	"deadline of a unary call":    "DEADLINE_EXCEEDED",
	"deadline of a silent stream": "DEADLINE_EXCEEDED",
	"deadline before the server":  "DEADLINE_EXCEEDED",
	"cancelled by the caller":     "CANCELLED",
	"burst, no limit of streams":  "OK",
	"burst, limit of 100 streams": "OK",
	"burst, limit of two streams": "OK",
	"burst, limit of one stream":  "OK",
	"reset with 0":                "INTERNAL",           // NO_ERROR
	"reset with 1":                "INTERNAL",           // PROTOCOL_ERROR
	"reset with 2":                "INTERNAL",           // INTERNAL_ERROR
	"reset with 3":                "INTERNAL",           // FLOW_CONTROL_ERROR
	"reset with 4":                "INTERNAL",           // SETTINGS_TIMEOUT
	"reset with 5":                "INTERNAL",           // STREAM_CLOSED
	"reset with 6":                "INTERNAL",           // FRAME_SIZE_ERROR
	"reset with 7":                "UNAVAILABLE",        // REFUSED_STREAM
	"reset with 8":                "CANCELLED",          // CANCEL
	"reset with 9":                "INTERNAL",           // COMPRESSION_ERROR
	"reset with 10":               "INTERNAL",           // CONNECT_ERROR
	"reset with 11":               "RESOURCE_EXHAUSTED", // ENHANCE_YOUR_CALM
	"reset with 12":               "PERMISSION_DENIED",  // INADEQUATE_SECURITY
	"reset with 13":               "INTERNAL",           // HTTP_1_1_REQUIRED
}

func TestGRPCClients(t *testing.T) {
	needClients(t)
	for _, c := range grpcClients {
		for _, p := range paths {
			t.Run(c.name+"/"+p.name, func(t *testing.T) {
				want := maps.Clone(grpcOutcomes)
				if c.name == "grpc-go" && !p.meshed() {
					want["reset with 3"] = "RESOURCE_EXHAUSTED" // its own mapping
				}
				got, err := p.outcomes(c.name, append(c.command, p.host("server"))...)
				if err != nil {
					t.Fatal(err)
				}
				p.compare(t, got, want)
			})
		}
	}
}

// quietCalls are those of TestQuietCalls that still run, which the mesh must outlive.
var quietCalls sync.WaitGroup

// Default servers allow a client one PING in five minutes while no data flows. Calls that are silent for longer than
// the proxies' and the libraries' own intervals show that nothing else reaches the servers.
func TestQuietCalls(t *testing.T) {
	needClients(t)
	const seconds = "120"
	type result struct {
		name string
		got  map[string]string
		err  error
	}
	results := make(chan result, len(grpcClients)*3*len(paths))
	for _, p := range paths[1:] {
		for _, server := range []string{"server", "grpcio-server", "grpc-java-server"} {
			for _, c := range map[string][]string{
				"grpc-go": {"/app", "calls", "-quiet", seconds + "s", "-host", p.host(server)},
				"grpcio":  {"python3", "/clients/calls.py", p.host(server), "9090", seconds},
			} {
				pod := "grpcio"
				if c[0] == "/app" {
					pod = "grpc-go"
				}
				quietCalls.Go(func() {
					got, err := p.outcomes(pod, c...)
					results <- result{strings.Join([]string{pod, server, p.name}, ", "), got, err}
				})
			}
		}
	}
	t.Parallel() // the other tests go on meanwhile
	quietCalls.Wait()
	close(results)
	for r := range results {
		if r.err != nil {
			t.Errorf("%s: %v", r.name, r.err)
		}
		for call, outcome := range r.got {
			if outcome != "OK" {
				t.Errorf("%s: %s: got %s, want OK", r.name, call, outcome)
			}
		}
	}
}

func TestH2load(t *testing.T) {
	needClients(t)
	for _, tt := range []struct {
		name, port, streams string
		meshOnly            bool // without the mesh h2load itself opens more streams than the server allows
	}{
		{"100 streams, limit 100", "8300", "100", false},
		{"100 streams, limit 2", "8202", "100", true},
		{"100 streams, limit 1", "8201", "100", true},
		{"1 stream, limit 1", "8201", "1", false},
	} {
		for _, p := range paths {
			if tt.meshOnly && p.client != clientsNS {
				continue
			}
			t.Run(tt.name+"/"+p.name, func(t *testing.T) {
				out, err := p.enter("h2load", "/usr/bin/h2load", "-c", "10", "-m", tt.streams, "-n", "2000",
					"http://"+p.host("server")+":"+tt.port+"/")
				whole := strings.Contains(out, "2000 succeeded, 0 failed, 0 errored") &&
					strings.Contains(out, "2000 2xx")
				if err != nil || !whole {
					t.Errorf("got %v\n%s", err, out)
				}
			})
		}
	}
}
