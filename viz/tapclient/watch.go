// Package tapclient watches requests through the tap API, as a user does.
//
// It owns the path and the stream of a watch, the errors about a refusal, the output formats of `tulle viz tap`, and
// the sentences about what is missing in a stream. It reaches the API through a Post only, and does not write to the
// terminal. The one idea: a stream is a sequence of messages, and commands differ in what they do with each.
package tapclient

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/tulle-mesh/tulle/viz/resource"
	"github.com/tulle-mesh/tulle/viz/tap"
)

// maxLine bounds one message. An event has at most 8 KiB of headers and 2 KiB of a path, before they are escaped.
const maxLine = 1 << 20

// Post sends JSON to a path of the Kubernetes API and returns the answer's body; see cluster.Client.
type Post func(ctx context.Context, path string, body []byte) (io.ReadCloser, error)

// Target names what to watch. Without a Name, that is every object of the kind in the namespace.
type Target struct {
	Namespace string
	Kind      resource.Kind
	Name      string
}

// String returns the target as a user writes it.
func (t Target) String() string {
	if t.Kind.Name == resource.Namespace {
		return "ns/" + t.InNamespace()
	}
	if t.Name == "" {
		return fmt.Sprintf("%s in namespace %s", t.Kind.Plural, t.Namespace)
	}
	return fmt.Sprintf("%s/%s in namespace %s", t.Kind.Prefix(), t.Name, t.Namespace)
}

// InNamespace returns the namespace whose pods are watched.
func (t Target) InNamespace() string {
	if t.Kind.Name == resource.Namespace && t.Name != "" {
		return t.Name
	}
	return t.Namespace
}

// reviewedResource returns the resource and the name for which the user needs the right to watch.
func (t Target) reviewedResource() (plural, name string) {
	if t.Name == "" || t.Kind.Name == resource.Namespace {
		return "namespaces", t.InNamespace()
	}
	return t.Kind.Plural, t.Name
}

// path returns the path of the watch in the API.
func (t Target) path() string {
	path := "/apis/" + tap.Group + "/" + tap.Version + "/watch/namespaces/" + t.InNamespace()
	if plural, name := t.reviewedResource(); plural != "namespaces" {
		path += "/" + plural + "/" + name
	}
	return path + "/tap"
}

// includes reports whether the target includes the pod whose proxy saw an event. The API watches one object, or all
// pods of a namespace, so it filters only for a kind without a name.
func (t Target) includes(e *tap.Event) bool {
	if t.Name != "" || t.Kind.Name == resource.Namespace {
		return true
	}
	own := e.Source
	if e.ProxyDirection == "INBOUND" {
		own = e.Destination
	}
	return own.Metadata[t.Kind.Name] != ""
}

// Watch calls emit for each message, until ctx ends, emit fails, or the stream ends. It returns nil if ctx ended.
func Watch(ctx context.Context, post Post, target Target, query tap.Request, emit func(tap.Message) error) error {
	body, err := json.Marshal(query)
	if err != nil {
		return fmt.Errorf("encode request: %w", err)
	}
	stream, err := post(ctx, target.path(), body)
	if ctx.Err() != nil {
		if err == nil {
			_ = stream.Close() // nothing of it was read
		}
		return nil
	}
	if err != nil {
		return explainRefusal(target, err)
	}
	defer stream.Close()
	watched := false
	lines := bufio.NewScanner(stream)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		var m tap.Message
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			if lines.Scan() || lines.Err() == nil {
				return fmt.Errorf("read the answer of the tap server: %w", err)
			}
			break // the stream ended within a line
		}
		if m.Event != nil && !target.includes(m.Event) {
			continue
		}
		watched = watched || m.Event != nil || m.Watching != nil && *m.Watching > 0
		if err := emit(m); err != nil {
			return err
		}
	}
	switch err := lines.Err(); {
	case ctx.Err() != nil:
		return nil
	case err != nil:
		return fmt.Errorf("read the answer of the tap server: %w", err)
	case !watched:
		return fmt.Errorf("no proxy of %s can be watched", target)
	}
	return errEnded
}

var errEnded = errors.New("the tap server ended the stream")
