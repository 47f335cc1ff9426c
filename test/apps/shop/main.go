// Package main is the shop of the demo: every service of it is a verb of this one program, so that one image serves
// all.
//
// The services are plain applications: they know nothing of the mesh and must not import anything of it.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

//go:generate sh -c "cd ../../.. && protoc --plugin=protoc-gen-go=$(go tool -n protoc-gen-go) --plugin=protoc-gen-go-grpc=$(go tool -n protoc-gen-go-grpc) --go_out=test/apps/shop/pb --go_opt=paths=source_relative --go-grpc_out=test/apps/shop/pb --go-grpc_opt=paths=source_relative -I test/apps/shop shop.proto"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	root := &cobra.Command{Use: "shop", Short: "the services of the demo shop", SilenceUsage: true, SilenceErrors: true}
	root.AddCommand(webCommand(), catalogCommand(), cartCommand(), checkoutCommand(), liveCommand(), loadCommand(),
		restockCommand(), getCommand())
	if err := root.ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "shop:", err)
		os.Exit(1)
	}
}
