package main

import "errors"

// runInit programs the capture of the pod's traffic.
func runInit([]string) error {
	return errors.New("init: this build cannot program the capture of traffic")
}
