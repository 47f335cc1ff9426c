package main

import (
	"context"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/tulle-mesh/tulle/test/apps/shop/pb"
)

func cartCommand() *cobra.Command {
	var addr, store string
	cmd := &cobra.Command{
		Use: "cart", Short: "gRPC: what customers want, kept in Redis", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client := redis.NewClient(&redis.Options{Addr: store})
			defer func() { _ = client.Close() }()
			return serveGRPC(cmd.Context(), addr, func(s *grpc.Server) { pb.RegisterCartServer(s, &cart{store: client}) })
		},
	}
	cmd.Flags().StringVar(&addr, "addr", ":9090", "address to serve")
	cmd.Flags().StringVar(&store, "redis", "redis:6379", "address of Redis")
	return cmd
}

// cart keeps a list a customer. It is bounded by the customers there are: checkout empties carts, and a list is cut at
// 100 items.
type cart struct {
	pb.UnimplementedCartServer
	store *redis.Client
}

func (c *cart) Add(ctx context.Context, r *pb.AddRequest) (*pb.AddResponse, error) {
	items, err := c.store.LPush(ctx, "cart:"+r.Customer, r.Item).Result()
	if err == nil && items > 100 {
		err = c.store.LTrim(ctx, "cart:"+r.Customer, 0, 99).Err()
	}
	if err != nil {
		return nil, status.Errorf(codes.Unavailable, "store item: %v", err)
	}
	return &pb.AddResponse{Items: items}, nil
}

func (c *cart) Empty(ctx context.Context, r *pb.EmptyRequest) (*pb.EmptyResponse, error) {
	key := "cart:" + r.Customer
	var items *redis.IntCmd
	_, err := c.store.TxPipelined(ctx, func(p redis.Pipeliner) error {
		items = p.LLen(ctx, key)
		return p.Del(ctx, key).Err()
	})
	if err != nil {
		return nil, status.Errorf(codes.Unavailable, "empty cart: %v", err)
	}
	return &pb.EmptyResponse{Items: items.Val()}, nil
}
