package strict

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestMirror copies requests to one backend that is there and to one that is not: the requests themselves notice
// neither.
func TestMirror(t *testing.T) {
	path := fmt.Sprintf("/copied-%d", time.Now().UnixNano())
	apply(t, httpRoute("mirror", "", `
  - filters:
    - {type: RequestMirror, requestMirror: {backendRef: {name: nowhere, port: 80}}}
    - {type: RequestMirror, requestMirror: {backendRef: {name: echo-v2, port: 80}}}
    backendRefs: [{name: echo-v1, port: 80}]`))
	eventually(t, func() error {
		if err := answersOnly(request{url: "http://echo" + path, count: 10}, "v1"); err != nil {
			return err
		}
		if n, err := requestsOf("echo-v2", path); err != nil || n == 0 {
			return fmt.Errorf("the mirror has seen %d requests (error: %v), want some", n, err)
		}
		return nil
	})
}

// TestMirrorShare copies a quarter, after the rule has held for a while.
func TestMirrorShare(t *testing.T) {
	apply(t, httpRoute("mirror", "", `
  - filters: [{type: RequestMirror, requestMirror: {backendRef: {name: echo-v2, port: 80}, fraction: {numerator: 1, denominator: 4}}}]
    backendRefs: [{name: echo-v1, port: 80}]`))
	eventually(t, func() error { return answersOnly(request{url: "http://echo/", count: 20}, "v1") })
	path := fmt.Sprintf("/share-%d", time.Now().UnixNano())
	const requests = 400
	if err := answersOnly(request{url: "http://echo" + path, count: requests}, "v1"); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		n, err := requestsOf("echo-v2", path)
		if err == nil && (n < requests/4-requests/10 || n > requests/4+requests/10) {
			err = fmt.Errorf("the mirror has seen %d of %d requests, want about a quarter", n, requests)
		}
		return err
	})
}

// requestsOf returns how many requests with a path that no other has the log of a deployment's application shows.
func requestsOf(deployment, path string) (int, error) {
	out, err := kubectl("", "-n", "strict", "logs", "deploy/"+deployment, "-c", "echo", "--since=5m")
	return strings.Count(out, path), err
}
