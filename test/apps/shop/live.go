package main

import (
	"fmt"
	"net/http"
	"time"

	"github.com/coder/websocket"
	"github.com/spf13/cobra"
)

func liveCommand() *cobra.Command {
	var (
		addr  string
		every time.Duration
	)
	cmd := &cobra.Command{
		Use: "live", Short: "WebSocket: prices as they change", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			mux := http.NewServeMux()
			mux.HandleFunc("GET /prices", func(w http.ResponseWriter, r *http.Request) { prices(w, r, every) })
			return serveHTTP(cmd.Context(), addr, mux)
		},
	}
	cmd.Flags().StringVar(&addr, "addr", ":8080", "address to serve")
	cmd.Flags().DurationVar(&every, "every", 200*time.Millisecond, "time between two prices")
	return cmd
}

func prices(w http.ResponseWriter, r *http.Request, every time.Duration) {
	socket, err := websocket.Accept(w, r, nil)
	if err != nil {
		return // Accept has answered
	}
	defer func() { _ = socket.CloseNow() }()
	ctx := socket.CloseRead(r.Context()) // the client sends nothing; this notices that it left
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for n := 0; ; n++ {
		price := fmt.Sprintf(`{"item":%q,"cents":%d}`, goods[n%len(goods)].Id, 500+n%500)
		if err := socket.Write(ctx, websocket.MessageText, []byte(price)); err != nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}
