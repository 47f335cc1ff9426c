package latest

// Signal wakes one waiter. Notifications that nobody has received yet count as one. Receive from it to wait.
type Signal chan struct{}

// NewSignal returns a Signal without a notification.
func NewSignal() Signal { return make(Signal, 1) }

// Notify wakes the waiter, now or when it waits next. It never blocks.
func (s Signal) Notify() {
	select {
	case s <- struct{}{}:
	default:
	}
}
