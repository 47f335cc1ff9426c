// Package main writes the dashboards as JSON, from the tables of panels in this folder:
//
//	go generate ./viz/dashboards
package main

import (
	"fmt"
	"os"
)

func main() {
	if err := write("."); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

// write writes each dashboard to a file in dir.
func write(dir string) error {
	for _, b := range boards {
		text, err := b.json()
		if err != nil {
			return fmt.Errorf("dashboard %s: %w", b.name, err)
		}
		if err := os.WriteFile(dir+"/"+b.name+".json", text, 0o644); err != nil {
			return err
		}
	}
	return nil
}
