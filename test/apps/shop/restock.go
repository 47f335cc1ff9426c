package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	"github.com/tulle-mesh/tulle/test/apps/shop/pb"
)

func restockCommand() *cobra.Command {
	var (
		addr  string
		count int64
	)
	cmd := &cobra.Command{
		Use: "restock", Short: "a job: reads the catalog, follows the stock for a while, ends", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), 2*time.Minute)
			defer cancel()
			conn, err := dialGRPC(addr)
			if err != nil {
				return err
			}
			defer func() { _ = conn.Close() }()
			client := pb.NewCatalogClient(conn)
			reply, err := client.List(ctx, &pb.ListRequest{}, grpc.WaitForReady(true))
			if err != nil {
				return fmt.Errorf("list catalog: %w", err)
			}
			seen, err := follow(ctx, client, count)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%d goods, %d changes of stock\n", len(reply.Items), seen)
			return nil
		},
	}
	cmd.Flags().StringVar(&addr, "catalog", "catalog:9090", "address of the catalog service")
	cmd.Flags().Int64Var(&count, "changes", 100, "changes of stock to wait for")
	return cmd
}

// follow receives exactly count changes of stock.
func follow(ctx context.Context, client pb.CatalogClient, count int64) (int64, error) {
	stream, err := client.Watch(ctx, &pb.WatchRequest{Count: count})
	if err != nil {
		return 0, fmt.Errorf("watch stock: %w", err)
	}
	var seen int64
	for {
		_, err := stream.Recv()
		if err == io.EOF {
			break
		}
		if err != nil {
			return seen, fmt.Errorf("watch stock after %d changes: %w", seen, err)
		}
		seen++
	}
	if seen != count {
		return seen, fmt.Errorf("watch stock: got %d changes, want %d", seen, count)
	}
	return seen, nil
}
