package convert

import (
	"strconv"
	"strings"
	"time"
)

// annotations converts what is said by annotations of a route here.
func (v *vs) annotations(r node) map[string]any {
	out := map[string]any{}
	if retries := r.at("retries"); retries.exists() {
		v.retries(retries, out)
	}
	if fault := r.at("fault"); fault.exists() {
		v.fault(fault, out)
	}
	return out
}

// retries converts attempts, perTryTimeout and retryOn. Connection failures are always tried elsewhere here, without
// being asked.
func (v *vs) retries(n node, out map[string]any) {
	attempts, on := n.at("attempts"), n.at("retryOn")
	codes, grpc := retryConditions(on.text())
	switch {
	case attempts.text() == "0":
		return
	case len(codes)+len(grpc) == 0:
		v.o.became(on.path, "connections that fail are tried elsewhere without being asked")
		return
	}
	out["retry.linkerd.io/limit"] = strconv.Itoa(attempts.number(2))
	if timeout := n.at("perTryTimeout"); timeout.exists() {
		out["retry.linkerd.io/timeout"] = timeout.duration()
	}
	if len(codes) > 0 {
		out["retry.linkerd.io/http"] = strings.Join(codes, ",")
	}
	if len(grpc) > 0 {
		out["retry.linkerd.io/grpc"] = strings.Join(grpc, ",")
	}
	if !on.exists() {
		v.o.became(n.path, "retries of 503 and of connections that fail, Istio's default; a retry budget bounds them")
	}
	n.at("retryRemoteLocalities").drop("an attempt goes to whichever endpoint is fastest")
	n.at("backoff").drop("the back-off grows from 25 ms; spec.rules[].retry.backoff of the route changes it")
}

// retryConditions translates retryOn; "" is Istio's default.
func retryConditions(on string) (codes, grpc []string) {
	if on == "" {
		return []string{"503"}, []string{"unavailable", "cancelled"}
	}
	for part := range strings.SplitSeq(on, ",") {
		switch part = strings.TrimSpace(part); part {
		case "5xx", "gateway-error":
			codes = append(codes, part)
		case "retriable-4xx":
			codes = append(codes, "409")
		case "cancelled", "deadline-exceeded", "internal", "resource-exhausted", "unavailable":
			grpc = append(grpc, part)
		default:
			if _, err := strconv.Atoi(part); err == nil {
				codes = append(codes, part)
			}
		}
	}
	return codes, grpc
}

// fault converts an abort and a delay; both end, because the mesh refuses faults without an end.
func (v *vs) fault(n node, out map[string]any) {
	until := v.o.options.FaultUntil
	if until.IsZero() {
		n.drop("a fault must say when it ends: give --fault-until")
		return
	}
	abort, delay := v.injected(n.at("abort")), v.injected(n.at("delay"))
	if abort.exists() {
		if status := abort.at("httpStatus"); status.exists() {
			out["fault.tulle.dev/abort-http"] = status.text()
		}
		if status := abort.at("grpcStatus"); status.exists() {
			out["fault.tulle.dev/abort-grpc"] = strings.ReplaceAll(strings.ToLower(status.text()), "_", "-")
		}
		out["fault.tulle.dev/abort-percent"] = abort.at("percentage", "value").text()
	}
	if delay.exists() {
		out["fault.tulle.dev/delay"] = delay.at("fixedDelay").duration()
		out["fault.tulle.dev/delay-percent"] = delay.at("percentage", "value").text()
	}
	if abort.exists() || delay.exists() {
		out["fault.tulle.dev/until"] = until.UTC().Format(time.RFC3339)
	}
}

// injected returns an abort or a delay that Istio would inject, which is none without a percentage.
func (v *vs) injected(n node) node {
	if n.exists() && !n.at("percentage", "value").exists() {
		n.drop("without a percentage nothing is injected: say percentage.value")
		return node{o: v.o, path: n.path}
	}
	return n
}
