package forward

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// earlyAnswers are what servers say that do not want a request's body.
var earlyAnswers = map[string]string{
	"a length and close":       "HTTP/1.1 413 Content Too Large\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbig\n",
	"a length, no word of end": "HTTP/1.1 413 Content Too Large\r\nContent-Length: 4\r\n\r\nbig\n",
	"chunks": "HTTP/1.1 501 Not Implemented\r\nTransfer-Encoding: chunked\r\n\r\n" +
		"4\r\nbig\n\r\n0\r\n\r\n",
	"a hint before": "HTTP/1.1 103 Early Hints\r\n\r\n" +
		"HTTP/1.1 413 Content Too Large\r\nContent-Length: 4\r\n\r\nbig\n",
}

// hasty runs an application that reads a request's head, answers, and closes without looking at the body, which resets
// the connection.
func hasty(t *testing.T, response string) string {
	return rawApp(t, func(_ int, c net.Conn, _ *bufio.Reader) {
		br := bufio.NewReaderSize(c, 256)
		for {
			line, err := br.ReadString('\n')
			if err != nil {
				return
			}
			if line == "\r\n" {
				break
			}
		}
		_, _ = io.WriteString(c, response)
	})
}

// upload posts a body on a connection of its own and returns what was answered.
func (r *route) upload(body string) (status int, got string, err error) {
	c, err := net.Dial("tcp", r.first.addr)
	if err != nil {
		return 0, "", err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	go func() {
		_, _ = fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	}()
	req, _ := http.NewRequest("POST", "/", nil)
	br := bufio.NewReader(c)
	resp, err := http.ReadResponse(br, req)
	for err == nil && resp.StatusCode == 103 {
		resp, err = http.ReadResponse(br, req)
	}
	if err != nil {
		return 0, "", err
	}
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// A response whose bytes reached the proxy reaches the client, though the server reset the connection behind it.
func TestEarlyAnswersArrive(t *testing.T) {
	body := strings.Repeat("x", 400<<10)
	for name, response := range earlyAnswers {
		attempts := 100
		if name == "a length, no word of end" {
			attempts = 300 // the response is lost only where the end overtakes it
		}
		t.Run(name, func(t *testing.T) {
			h1Pairs(t, hasty(t, response), Config{}, func(t *testing.T, r *route) {
				var lost atomic.Int64
				var wg sync.WaitGroup
				for range 4 {
					wg.Go(func() {
						for range attempts / 4 {
							status, got, err := r.upload(body)
							if err != nil || status != 413 && status != 501 || got != "big\n" {
								if lost.Add(1) < 4 {
									t.Errorf("got %d %q, %v", status, got, err)
								}
							}
						}
					})
				}
				wg.Wait()
				if n := lost.Load(); n > 0 {
					t.Errorf("%d of %d answers were lost", n, attempts)
				}
			})
		})
	}
}

// A response that ends with its connection looks cut off when that is reset; what came of it arrives nevertheless.
func TestEarlyAnswerUntilCloseArrivesAndLooksCutOff(t *testing.T) {
	body := strings.Repeat("x", 400<<10)
	app := hasty(t, "HTTP/1.0 413 Content Too Large\r\n\r\nbig\n")
	r := build(t, false, false, app, Config{})
	for range 100 {
		status, got, err := r.upload(body)
		if status != 413 || err == nil && got != "big\n" || !strings.HasPrefix("big\n", got) {
			t.Fatalf("got %d %q, %v", status, got, err)
		}
	}
}

// A server that refuses a request and leaves its body unread closes, whether it said so or not: the next request must
// not be lost with that connection.
func TestConnectionOfAnEarlyAnswerIsNotUsedAgain(t *testing.T) {
	app := rawApp(t, func(_ int, c net.Conn, _ *bufio.Reader) {
		br := bufio.NewReaderSize(c, 256)
		for {
			refuse := false
			for {
				line, err := br.ReadString('\n')
				if err != nil {
					return
				}
				refuse = refuse || strings.HasPrefix(line, "POST /upload")
				if line == "\r\n" {
					break
				}
			}
			if refuse {
				_, _ = io.WriteString(c, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
				return
			}
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}
	})
	for _, size := range []int{1, 4 << 10, 100 << 10, 400 << 10} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			h1Pairs(t, app, Config{}, func(t *testing.T, r *route) {
				body := strings.Repeat("x", size)
				for range 50 {
					resp, err := r.client.Post(r.url+"/upload", "text/plain", strings.NewReader(body))
					if err != nil {
						continue // the client itself wrote to a connection that the proxy had ended behind the answer
					}
					_, _ = io.Copy(io.Discard, resp.Body)
					_ = resp.Body.Close()
					if resp.StatusCode != 413 {
						t.Fatalf("the upload was answered %d", resp.StatusCode)
					}
					next, err := r.client.Post(r.url+"/next", "text/plain", nil)
					if _ = bodyOf(next); err != nil || next.StatusCode != 200 {
						t.Fatalf("the next request: %v, %v", next, err)
					}
				}
			})
		})
	}
}

func bodyOf(r *http.Response) (b []byte) {
	if r != nil {
		b, _ = io.ReadAll(r.Body)
		_ = r.Body.Close()
	}
	return b
}

// RFC 9113 §8.1: a server may answer before it has the whole request, and stop it with RST_STREAM(NO_ERROR).
func TestEarlyAnswersOfHTTP2Arrive(t *testing.T) {
	app := serveApp(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(413)
		_, _ = io.WriteString(w, "big\n")
	}))
	body := strings.Repeat("x", 2<<20)
	for _, p := range pairs {
		if p.http2 {
			t.Run(p.name, func(t *testing.T) {
				r := build(t, true, p.meshed, app, Config{})
				for range 100 {
					resp, err := r.client.Post(r.url, "text/plain", strings.NewReader(body))
					if err != nil {
						t.Fatal(err)
					}
					if got := bodyOf(resp); resp.StatusCode != 413 || string(got) != "big\n" {
						t.Fatalf("got %d %q", resp.StatusCode, got)
					}
				}
			})
		}
	}
}
