//go:build !race

package forward

// raceEnabled says that the race detector is at work: it allocates, and empties pools at random.
const raceEnabled = false
