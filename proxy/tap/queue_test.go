package tap

import (
	"strings"
	"testing"

	"github.com/tulle-mesh/tulle/mesh"
)

// TestMessagesBeingSentTakeRoom shows that the bounds hold for the events that wait and for those that are being sent
// together: a subscriber that stops reading does not get twice the memory.
func TestMessagesBeingSentTakeRoom(t *testing.T) {
	for name, e := range map[string]mesh.TapEvent{
		"small events": {Path: "/"}, "large events": {Path: strings.Repeat("a", maxText)},
	} {
		q := newQueue(false)
		pushed := 0
		for q.push(&e) {
			pushed++
		}
		taken := q.take(backlog{})
		if len(taken.ends) != pushed || pushed > queueEvents || len(taken.encoded) > queueBytes {
			t.Errorf("%s: pushed %d, took %d of %d bytes", name, pushed, len(taken.ends), len(taken.encoded))
		}
		if q.push(&e) {
			t.Errorf("%s: there is room for one more while all are being sent", name)
		}
		message, events := taken.message()
		q.sent(events, len(message))
		if !q.push(&e) {
			t.Errorf("%s: there is no room after a message was sent", name)
		}
	}
}

// TestBurstLeavesNoLargeBuffer shows that a subscription gives back the memory of a burst.
func TestBurstLeavesNoLargeBuffer(t *testing.T) {
	q, e := newQueue(false), mesh.TapEvent{Path: strings.Repeat("a", maxText)}
	for q.push(&e) {
		continue
	}
	burst := q.take(backlog{})
	q.sent(len(burst.ends), len(burst.encoded))
	q.push(&e)
	q.take(burst)
	q.push(&e)
	if got := cap(q.waiting.encoded); got > spareBytes {
		t.Errorf("got a buffer of %d bytes, want at most %d", got, spareBytes)
	}
}
