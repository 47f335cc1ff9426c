package forward

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// app answers every scenario.
func app() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		w.Header().Set("X-Method", r.Method)
		w.Header().Set("X-Proto", r.Proto)
		w.Header().Set("X-Host", r.Host)
		w.Header().Set("X-Length", strconv.FormatInt(r.ContentLength, 10))
		w.Header().Set("X-Seen", r.Header.Get("X-Test"))
		_, _ = io.Copy(w, r.Body)
	})
	mux.HandleFunc("/status/{code}", func(w http.ResponseWriter, r *http.Request) {
		code, _ := strconv.Atoi(r.PathValue("code"))
		w.WriteHeader(code)
	})
	mux.HandleFunc("/trailers", func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		w.Header().Set("Trailer", "X-Sum")
		w.(http.Flusher).Flush()
		n, _ := io.Copy(w, r.Body)
		w.Header().Set("X-Sum", fmt.Sprint(n, " ", r.Trailer.Get("X-Client")))
	})
	mux.HandleFunc("/hints", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</style.css>")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Link")
		_, _ = io.WriteString(w, "done")
	})
	mux.HandleFunc("/hash", func(w http.ResponseWriter, r *http.Request) {
		h := sha256.New()
		n, _ := io.Copy(h, r.Body)
		fmt.Fprintf(w, "%d %x", n, h.Sum(nil))
	})
	mux.HandleFunc("/bytes/{n}", func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.PathValue("n"))
		block := bytes.Repeat([]byte("0123456789abcdef"), 4096)
		for n > 0 {
			k := min(n, len(block))
			if _, err := w.Write(block[:k]); err != nil {
				return
			}
			n -= k
		}
	})
	mux.HandleFunc("/endless", func(w http.ResponseWriter, r *http.Request) {
		block := make([]byte, 32<<10)
		for {
			if _, err := w.Write(block); err != nil {
				cancelled <- struct{}{}
				return
			}
		}
	})
	return mux
}

func TestScenarios(t *testing.T) {
	addr := serveApp(t, app())
	for _, p := range pairs {
		t.Run(p.name, func(t *testing.T) {
			r := build(t, p.http2, p.meshed, addr, Config{})
			for name, scenario := range scenarios {
				t.Run(name, func(t *testing.T) { scenario(t, r) })
			}
		})
	}
}

var scenarios = map[string]func(t *testing.T, r *route){
	"GET without body": func(t *testing.T, r *route) {
		resp, err := r.client.Get(r.url + "/echo?q=1")
		if got := readBody(t, resp, err); got != "" || resp.StatusCode != 200 || resp.Header.Get("X-Method") != "GET" {
			t.Errorf("got %d %q %v", resp.StatusCode, got, resp.Header)
		}
	},
	"POST of known length": func(t *testing.T, r *route) {
		resp, err := r.client.Post(r.url+"/echo", "text/plain", strings.NewReader("hello"))
		if got := readBody(t, resp, err); got != "hello" || resp.Header.Get("X-Length") != "5" {
			t.Errorf("got %q %v", got, resp.Header)
		}
	},
	"POST of unknown length": func(t *testing.T, r *route) {
		resp, err := r.client.Post(
			r.url+"/echo",
			"text/plain",
			io.MultiReader(strings.NewReader("hello "), strings.NewReader("world")),
		)
		if got := readBody(t, resp, err); got != "hello world" || resp.Header.Get("X-Length") != "-1" {
			t.Errorf("got %q %v", got, resp.Header)
		}
	},
	"empty POST": func(t *testing.T, r *route) {
		resp, err := r.client.Post(r.url+"/echo", "text/plain", nil)
		if got := readBody(t, resp, err); got != "" || resp.Header.Get("X-Length") != "0" {
			t.Errorf("got %q %v", got, resp.Header)
		}
	},
	"HEAD": func(t *testing.T, r *route) {
		resp, err := r.client.Head(r.url + "/bytes/12")
		if got := readBody(t, resp, err); got != "" || resp.ContentLength != 12 {
			t.Errorf("got %q, length %d", got, resp.ContentLength)
		}
	},
	"statuses without body": func(t *testing.T, r *route) {
		for _, code := range []int{204, 304, 404, 500} {
			resp, err := r.client.Get(r.url + "/status/" + strconv.Itoa(code))
			if got := readBody(t, resp, err); got != "" || resp.StatusCode != code {
				t.Errorf("got %d %q, want %d", resp.StatusCode, got, code)
			}
		}
	},
	"trailers both ways": func(t *testing.T, r *route) {
		req, _ := http.NewRequest("POST", r.url+"/trailers", io.MultiReader(strings.NewReader("12345")))
		req.Trailer = http.Header{"X-Client": {"late"}}
		resp, err := r.client.Do(req)
		if got := readBody(t, resp, err); got != "12345" || resp.Trailer.Get("X-Sum") != "5 late" {
			t.Errorf("got %q, trailers %v", got, resp.Trailer)
		}
	},
	"103 Early Hints": func(t *testing.T, r *route) {
		var hints []string
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
			Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
				hints = append(hints, fmt.Sprint(code, h.Get("Link")))
				return nil
			},
		})
		req, _ := http.NewRequestWithContext(ctx, "GET", r.url+"/hints", nil)
		resp, err := r.client.Do(req)
		if got := readBody(t, resp, err); got != "done" || len(hints) != 1 || hints[0] != "103</style.css>" {
			t.Errorf("got %q, hints %v", got, hints)
		}
	},
	"100-continue": func(t *testing.T, r *route) {
		req, _ := http.NewRequest("POST", r.url+"/echo", strings.NewReader("patience"))
		req.Header.Set("Expect", "100-continue")
		resp, err := r.client.Do(req)
		if got := readBody(t, resp, err); got != "patience" {
			t.Errorf("got %q", got)
		}
	},
	"fields keep their values": func(t *testing.T, r *route) {
		req, _ := http.NewRequest("GET", r.url+"/echo", nil)
		req.Header.Set("X-Test", "a, b;c=\"d\"")
		req.Host = "shop.example"
		resp, err := r.client.Do(req)
		_ = readBody(t, resp, err)
		if resp.Header.Get("X-Seen") != "a, b;c=\"d\"" || resp.Header.Get("X-Host") != "shop.example" {
			t.Errorf("got %v", resp.Header)
		}
	},
	"10 MB up": func(t *testing.T, r *route) {
		data := bytes.Repeat([]byte("tulle-mesh"), 1<<20)
		resp, err := r.client.Post(r.url+"/hash", "", bytes.NewReader(data))
		if got, want := readBody(t, resp, err), fmt.Sprintf("%d %x", len(data), sha256.Sum256(data)); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	},
	"10 MB down": func(t *testing.T, r *route) {
		resp, err := r.client.Get(r.url + "/bytes/10000000")
		if got := readBody(t, resp, err); len(got) != 10000000 || got[9999984:] != "0123456789abcdef" {
			t.Errorf("got %d bytes", len(got))
		}
	},
	"10 MB echo, chunked": func(t *testing.T, r *route) {
		data := bytes.Repeat([]byte("tulle-mesh"), 1<<20)
		resp, err := r.client.Post(r.url+"/echo", "", io.MultiReader(bytes.NewReader(data)))
		if got := readBody(t, resp, err); got != string(data) {
			t.Errorf("got %d bytes", len(got))
		}
	},
	"many at once": func(t *testing.T, r *route) {
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				for j := range 20 {
					want := strings.Repeat(fmt.Sprint(i, "/", j, " "), 1+i*j%300)
					resp, err := r.client.Post(r.url+"/echo", "", strings.NewReader(want))
					if err != nil {
						t.Error(err)
						return
					}
					got, err := io.ReadAll(resp.Body)
					resp.Body.Close()
					if err != nil || string(got) != want {
						t.Errorf("got %d bytes, %v; want %d", len(got), err, len(want))
					}
				}
			})
		}
		wg.Wait()
	},
	"cancellation reaches the application": func(t *testing.T, r *route) {
		ctx, cancel := context.WithCancel(t.Context())
		req, _ := http.NewRequestWithContext(ctx, "GET", r.url+"/endless", nil)
		resp, err := r.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.ReadFull(resp.Body, make([]byte, 1<<20))
		cancel()
		_ = resp.Body.Close()
		select {
		case <-cancelled:
		case <-time.After(5 * time.Second):
			t.Error("the application writes on")
		}
	},
}

// cancelled gets a value when the application learns that a client of /endless is gone.
var cancelled = make(chan struct{}, 1)
