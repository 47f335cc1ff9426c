package inject

import "k8s.io/apimachinery/pkg/util/validation"

// meaningless lists the annotations below config.linkerd.io/ that Linkerd knows and Tulle does not need, each with the reason and
// what to do instead.
func meaningless() map[string]string {
	const (
		debug  = "a shell beside the application is `kubectl debug -it POD --image=... --target=CONTAINER`, at any time and without a restart"
		init   = "capture is programmed by the proxy's own image; set proxy-image and proxy-version"
		trace  = "spans are not exported by this version; trace headers pass through unchanged"
		always = "mesh TLS and identity are always on; to let a port bypass the proxy use skip-inbound-ports or skip-outbound-ports"
	)
	return map[string]string{
		"enable-debug-sidecar":            debug,
		"debug-image":                     debug,
		"debug-image-version":             debug,
		"debug-image-pull-policy":         debug,
		"init-image":                      init,
		"init-image-version":              init,
		"trace-collector":                 trace,
		"trace-collector-service-account": trace,
		"disable-identity":                always,
		"proxy-disable-identity":          always,
		"identity-mode":                   always,
		"proxy-log-http-headers":          "header values are never logged; use access-log for one line a request",
		"enable-external-profiles":        "names outside the cluster are forwarded as they are",
		"enable-gateway":                  "multicluster gateways are not part of this version",
		"close-wait-timeout":              "it needs a privileged init container; set net.netfilter.nf_conntrack_tcp_timeout_close_wait on the node",
		"pod-inbound-ports":               "one answer covers the policy of every port of a pod",
		"proxy-outbound-transport-mode":   "connections always go to the pod's real address and port",
		"enable-h2-upgrade":               "HTTP/1 between two proxies is always carried as HTTP/2 and restored at the far end",
		"proxy-metrics-hostname-labels":   "metrics never carry the names that clients ask for, which anybody could multiply",
		"disable-tap":                     "use viz.linkerd.io/disable-tap",
		"admission-webhooks":              "it is a label of the namespace, not an annotation",
	}
}

// Nearest returns the candidate with the smallest edit distance from key, and false if none is close enough to be what was meant:
// a third of the key's length. Of equals the one that begins most like key wins, since people shorten the ends of words.
func Nearest(key string, candidates []string) (string, bool) {
	if len(key) > validation.DNS1123LabelMaxLength {
		return "", false // longer than a key can be
	}
	best, limit := "", len(key)/3+1
	for _, c := range candidates {
		d := distance(key, c)
		if d < limit || d == limit && best != "" && commonPrefix(key, c) > commonPrefix(key, best) {
			best, limit = c, d
		}
	}
	return best, best != ""
}

func commonPrefix(a, b string) int {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return n
}

// distance is the Levenshtein distance in bytes; keys are ASCII.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
