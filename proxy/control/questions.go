package control

import (
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/tulle-mesh/tulle/api/pb"
)

// observe notes a request before it is sent: a watch begins a question, and an unwatch ends it if it is open.
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

// end reports the result of an open question. It does nothing if the question is not open.
func (c *Client) end(id uint64, code int16) {
	c.mu.Lock()
	asked, open := c.asked[id]
	delete(c.asked, id)
	c.mu.Unlock()
	if open {
		c.cfg.Answered(time.Since(asked), code)
	}
}

// abandon ends the questions that are still open when a stream ends.
func (c *Client) abandon(why error) {
	c.mu.Lock()
	open := c.asked
	c.asked = map[uint64]time.Time{}
	c.mu.Unlock()
	for _, asked := range open {
		c.cfg.Answered(time.Since(asked), codeOf(why))
	}
}

// codeOf returns the gRPC status of an error, or of the end of a context. Errors without a status, such as an invalid
// value, are Internal.
func codeOf(err error) int16 {
	if s, ok := status.FromError(err); ok {
		return int16(s.Code())
	}
	if s := status.FromContextError(err); s.Code() != codes.Unknown {
		return int16(s.Code())
	}
	return int16(codes.Internal)
}
