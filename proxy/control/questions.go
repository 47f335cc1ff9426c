package control

import (
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/tulle-mesh/tulle/api/pb"
)

// observe notes what is about to be sent: a watch is a question, and an unwatch ends one that is open still.
func (c *Client) observe(r *pb.SubscribeRequest) {
	switch m := r.GetMessage().(type) {
	case *pb.SubscribeRequest_Watch:
		c.mu.Lock()
		c.asked[m.Watch.GetId()] = time.Now()
		c.mu.Unlock()
		c.cfg.Asked()
	case *pb.SubscribeRequest_Unwatch:
		c.end(m.Unwatch, int16(codes.Canceled))
	}
}

// end tells how a question ended; of one that has ended, or never began, it says nothing.
func (c *Client) end(id uint64, code int16) {
	c.mu.Lock()
	asked, open := c.asked[id]
	delete(c.asked, id)
	c.mu.Unlock()
	if open {
		c.cfg.Answered(time.Since(asked), code)
	}
}

// abandon ends the questions that a stream left open.
func (c *Client) abandon(why error) {
	c.mu.Lock()
	open := c.asked
	c.asked = map[uint64]time.Time{}
	c.mu.Unlock()
	for _, asked := range open {
		c.cfg.Answered(time.Since(asked), codeOf(why))
	}
}

// codeOf returns the gRPC status of an error. The end of a context has one, too; what has none, such as a value that
// makes no sense, is Internal.
func codeOf(err error) int16 {
	if s, ok := status.FromError(err); ok {
		return int16(s.Code())
	}
	if s := status.FromContextError(err); s.Code() != codes.Unknown {
		return int16(s.Code())
	}
	return int16(codes.Internal)
}
