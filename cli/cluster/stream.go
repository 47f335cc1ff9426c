package cluster

import (
	"context"
	"fmt"
	"io"

	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
)

// poster returns Client.Post. Its requests have no timeout, because their answers may be endless.
func poster(config *rest.Config) (func(ctx context.Context, path string, body []byte) (io.ReadCloser, error), error) {
	config = rest.CopyConfig(config)
	config.Timeout = 0
	config.NegotiatedSerializer = scheme.Codecs.WithoutConversion()
	client, err := rest.UnversionedRESTClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("make a client for %s: %w", config.Host, err)
	}
	return func(ctx context.Context, path string, body []byte) (io.ReadCloser, error) {
		return client.Post().AbsPath(path).SetHeader("Content-Type", "application/json").Body(body).Stream(ctx)
	}, nil
}
