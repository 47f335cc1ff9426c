package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"strings"
	"time"
)

// answerEarly answers a request with 413 when its head is there. The path says what becomes of the body: /drained reads
// it away, as nginx does; /unread closes at once, so that the kernel resets the connection; /open does not read and
// does not announce an end.
func answerEarly(conn *net.TCPConn) {
	in := bufio.NewReader(conn)
	head := textproto.NewReader(in)
	line, err := head.ReadLine()
	if err != nil {
		return
	}
	if _, err := head.ReadMIMEHeader(); err != nil {
		return
	}
	announce := "Connection: close\r\n"
	open := strings.Contains(line, " /open")
	if open {
		announce = ""
	}
	const answer = "HTTP/1.1 413 Content Too Large\r\n%sContent-Length: 10\r\n\r\ntoo large\n"
	if _, err := fmt.Fprintf(conn, answer, announce); err != nil {
		return
	}
	switch {
	case open:
		<-time.After(time.Second)
	case strings.Contains(line, " /drained"):
		_ = conn.CloseWrite()
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		_, _ = io.Copy(io.Discard, in)
	}
}
