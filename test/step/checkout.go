package step

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// ErrNotInCheckout says that a tool was started outside a checkout, whose modules it builds.
var ErrNotInCheckout = errors.New("not inside a checkout of github.com/tulle-mesh/tulle")

// Checkout returns the folder of the root module above the working directory.
func Checkout() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find checkout: %w", err)
	}
	for ; ; dir = filepath.Dir(dir) {
		data, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(data), "module github.com/tulle-mesh/tulle\n") {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", ErrNotInCheckout
		}
	}
}

// Cache returns the folder where what is costly to build outlives a checkout: tulle in the user's cache folder.
func Cache() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find cache folder: %w", err)
	}
	return filepath.Join(dir, "tulle"), nil
}
