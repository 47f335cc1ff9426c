package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/tulle-mesh/tulle/test/apps/shop/pb"
)

func webCommand() *cobra.Command {
	var addr, catalogAddr, cartAddr, checkoutURL, version string
	cmd := &cobra.Command{
		Use: "web", Short: "HTTP: the front end", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			goods, err := dialGRPC(catalogAddr)
			if err != nil {
				return err
			}
			defer func() { _ = goods.Close() }()
			carts, err := dialGRPC(cartAddr)
			if err != nil {
				return err
			}
			defer func() { _ = carts.Close() }()
			w := &web{
				catalog: pb.NewCatalogClient(goods), cart: pb.NewCartClient(carts), checkout: checkoutURL,
				client: &http.Client{Timeout: 5 * time.Second}, version: version,
			}
			return serveHTTP(cmd.Context(), addr, w.mux())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&addr, "addr", ":8080", "address to serve")
	flags.StringVar(&catalogAddr, "catalog", "catalog:9090", "address of the catalog service")
	flags.StringVar(&cartAddr, "cart", "cart:9090", "address of the cart service")
	flags.StringVar(&version, "version", "v1", "what the pages say in X-Version")
	flags.StringVar(&checkoutURL, "checkout", "http://checkout:8080", "URL of the checkout service")
	return cmd
}

type web struct {
	catalog  pb.CatalogClient
	cart     pb.CartClient
	checkout string
	client   *http.Client
	version  string // of the pages, so that two can be compared
}

func (w *web) mux() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", w.list)
	mux.HandleFunc("POST /cart", w.add)
	mux.HandleFunc("POST /checkout", w.pay)
	return mux
}

func (w *web) list(out http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
	defer cancel()
	reply, err := w.catalog.List(ctx, &pb.ListRequest{})
	if err != nil {
		http.Error(out, err.Error(), http.StatusBadGateway)
		return
	}
	out.Header().Set("Content-Type", "application/json")
	out.Header().Set("X-Served-By", reply.ServedBy)
	out.Header().Set("X-Version", w.version)
	_ = json.NewEncoder(out).Encode(reply.Items) // the client is gone when this fails
}

func (w *web) add(out http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
	defer cancel()
	query := r.URL.Query()
	reply, err := w.cart.Add(ctx, &pb.AddRequest{Customer: query.Get("customer"), Item: query.Get("item")})
	if err != nil {
		http.Error(out, err.Error(), http.StatusBadGateway)
		return
	}
	fmt.Fprintf(out, "%d items\n", reply.Items)
}

func (w *web) pay(out http.ResponseWriter, r *http.Request) {
	target := w.checkout + "/pay?customer=" + url.QueryEscape(r.URL.Query().Get("customer"))
	request, err := http.NewRequestWithContext(r.Context(), http.MethodPost, target, nil)
	if err != nil {
		http.Error(out, err.Error(), http.StatusInternalServerError)
		return
	}
	reply, err := w.client.Do(request)
	if err != nil {
		http.Error(out, err.Error(), http.StatusBadGateway)
		return
	}
	defer func() { _ = reply.Body.Close() }()
	out.WriteHeader(reply.StatusCode)
	_, _ = io.Copy(out, reply.Body) // the status is sent: a body cut short is all that can tell the client
}
