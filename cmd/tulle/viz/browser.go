package viz

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
)

// openBrowser opens an address in the default browser, and does not wait for it. Its error says that there is no
// browser to start.
func openBrowser(address string) error {
	name, args := "xdg-open", []string{address}
	switch runtime.GOOS {
	case "darwin":
		name = "open"
	case "windows":
		name, args = "rundll32", []string{"url.dll,FileProtocolHandler", address}
	default:
		// Without a graphical session, xdg-open would open a browser in the terminal.
		if os.Getenv("DISPLAY")+os.Getenv("WAYLAND_DISPLAY")+os.Getenv("BROWSER") == "" {
			return errors.New("there is no screen")
		}
	}
	cmd := exec.Command(name, args...)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("run %s: %w", name, err)
	}
	return cmd.Process.Release()
}
