package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	"github.com/tulle-mesh/tulle/test/apps/shop/pb"
)

func catalogCommand() *cobra.Command {
	var addr string
	cmd := &cobra.Command{
		Use: "catalog", Short: "gRPC: what is on sale", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return serveGRPC(cmd.Context(), addr, func(s *grpc.Server) { pb.RegisterCatalogServer(s, &catalog{pod: podName()}) })
		},
	}
	cmd.Flags().StringVar(&addr, "addr", ":9090", "address to serve")
	return cmd
}

type catalog struct {
	pb.UnimplementedCatalogServer
	pod string
}

var goods = []*pb.Item{
	{Id: "voile", Name: "Voile, ivory, per metre", Cents: 890},
	{Id: "organza", Name: "Organza, rose, per metre", Cents: 1150},
	{Id: "tulle", Name: "Tulle, white, per metre", Cents: 640},
}

func (c *catalog) List(context.Context, *pb.ListRequest) (*pb.ListResponse, error) {
	return &pb.ListResponse{Items: goods, ServedBy: c.pod}, nil
}

func (c *catalog) Watch(r *pb.WatchRequest, out grpc.ServerStreamingServer[pb.Stock]) error {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for n := int64(0); r.Count == 0 || n < r.Count; n++ {
		item := goods[n%int64(len(goods))]
		if err := out.Send(&pb.Stock{Id: item.Id, Left: 100 - n%100}); err != nil {
			return err
		}
		select {
		case <-out.Context().Done():
			return nil
		case <-ticker.C:
		}
	}
	return nil
}
