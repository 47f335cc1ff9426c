package main

import (
	"fmt"
	"net/http"
	"sync/atomic"

	"github.com/spf13/cobra"

	"github.com/tulle-mesh/tulle/test/apps/shop/pb"
)

func checkoutCommand() *cobra.Command {
	var (
		addr, cartAddr string
		share          float64
	)
	cmd := &cobra.Command{
		Use: "checkout", Short: "HTTP: takes the money; fails now and then", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if share < 0 || share > 1 {
				return fmt.Errorf("--fail-share %v: want 0 to 1", share)
			}
			conn, err := dialGRPC(cartAddr)
			if err != nil {
				return err
			}
			defer func() { _ = conn.Close() }()
			mux := http.NewServeMux()
			mux.Handle("POST /pay", &checkout{cart: pb.NewCartClient(conn), faults: faults{share: share}})
			return serveHTTP(cmd.Context(), addr, mux)
		},
	}
	cmd.Flags().StringVar(&addr, "addr", ":8080", "address to serve")
	cmd.Flags().StringVar(&cartAddr, "cart", "cart:9090", "address of the cart service")
	cmd.Flags().Float64Var(&share, "fail-share", 0.1, "share of the payments that fail with 500")
	return cmd
}

type checkout struct {
	cart   pb.CartClient
	faults faults
}

func (c *checkout) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if c.faults.next() {
		http.Error(w, "the bank does not answer", http.StatusInternalServerError)
		return
	}
	reply, err := c.cart.Empty(r.Context(), &pb.EmptyRequest{Customer: r.URL.Query().Get("customer")})
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	fmt.Fprintf(w, "paid %d items\n", reply.Items)
}

// faults decides which calls fail: an even share of them, not a random one, so that a count can be checked against it.
type faults struct {
	share float64
	calls atomic.Uint64
}

// next reports whether this call fails: whenever calls × share passes a whole number.
func (f *faults) next() bool {
	n := float64(f.calls.Add(1))
	return uint64(n*f.share) > uint64((n-1)*f.share)
}
