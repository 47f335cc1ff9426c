package forward

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/tulle-mesh/tulle/proxy/exchange"
)

// TestClientEndsItsSideWhileTheResponseWaits ends the client's side of a connection that lingers, before the client has
// read the response. The response arrives whole, however late the client reads it.
func TestClientEndsItsSideWhileTheResponseWaits(t *testing.T) {
	const size = 120 << 10 // the send buffer takes it at once; the socket does not
	p := start(t, HTTP1, Config{}, &fixed{reply: func(x *exchange.Exchange) Action {
		x.Response.Status = 200
		return Reply(make([]byte, size))
	}}, func(c net.Conn) (net.Conn, error) { return c, c.(*net.TCPConn).SetWriteBuffer(4096) })
	c, err := net.Dial("tcp", p.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.(*net.TCPConn).SetReadBuffer(4096)
	send(t, c, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	p.eventually(t, "the response waits for the client", func() bool {
		for c := range p.e.conns {
			return c.state == connFINPending && c.sendBuffer.Size()+c.sending.Size() > 0
		}
		return false
	})
	_ = c.(*net.TCPConn).CloseWrite()
	<-time.After(3 * lingerTime / 2)
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(res.Body); len(got) != size || err != nil {
		t.Errorf("got %d bytes of %d, %v", len(got), size, err)
	}
}
