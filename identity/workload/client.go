package workload

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/tulle-mesh/tulle/api/pb"
)

// maxResponseBytes bounds the identity controller's response: a chain and a bundle of anchors.
const maxResponseBytes = 256 << 10

// client calls the identity controller. It opens a connection for each request: there are two or three a day.
type client struct {
	addr      string
	tokenFile string
	tls       *tls.Config
	called    func(took time.Duration, grpcStatus int16)
}

func (c *client) certify(ctx context.Context, csr []byte) (*response, error) {
	token, err := os.ReadFile(c.tokenFile)
	if err != nil {
		return nil, fmt.Errorf("read token: %w", err)
	}
	if token = bytes.TrimSpace(token); len(token) == 0 {
		return nil, errors.New("read token: the file is empty")
	}
	conn, err := grpc.NewClient("dns:///"+c.addr,
		grpc.WithTransportCredentials(credentials.NewTLS(c.tls)),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxResponseBytes)),
		grpc.WithDisableServiceConfig(),
		grpc.WithNoProxy(), // HTTP_PROXY is for the pod's application
	)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", c.addr, err)
	}
	defer func() { _ = conn.Close() }()
	begun := time.Now()
	resp, err := pb.NewIdentityClient(conn).Certify(ctx, &pb.CertifyRequest{Token: string(token), Csr: csr})
	if c.called != nil {
		c.called(time.Since(begun), int16(status.Code(err)))
	}
	if err != nil {
		return nil, err
	}
	return &response{chain: resp.GetChain(), anchors: resp.GetTrustAnchors()}, nil
}
