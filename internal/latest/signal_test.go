package latest

import "testing"

func TestSignalIsReceivedOnce(t *testing.T) {
	s := NewSignal()
	s.Notify()
	s.Notify()
	<-s
	select {
	case <-s:
		t.Error("two notifications were received, want one")
	default:
	}
}
