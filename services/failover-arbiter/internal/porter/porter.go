// Package porter answers the few questions that proxies ask several times a second, each on a connection of its own, before an HTTP server hears of them: the server's
// machinery for each of these connections was a quarter of what an idle arbiter took of a core. Everybody else is let in to the server.
package porter

import (
	"bytes"
	"errors"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Answer is what is said to a question at this moment, as JSON.
type Answer func() (status int, body []byte)

const (
	patience = 5 * time.Second       // with whoever connects and says nothing
	pause    = 50 * time.Millisecond // after a connection that could not be accepted, for want of a descriptor for instance
	longest  = 4 << 10               // of a first word
)

// Porter is a listener for the others. Accept and Close may be called by anyone at any time.
type Porter struct {
	net.Listener
	answers map[string]Answer // by path
	guests  chan net.Conn     // never closed
	closed  chan struct{}
	close   sync.Once
}

// New answers at a listener until that is closed.
func New(listener net.Listener, answers map[string]Answer) *Porter {
	p := &Porter{Listener: listener, answers: answers, guests: make(chan net.Conn), closed: make(chan struct{})}
	go p.open()
	return p
}

// Accept gives the next connection that asks for something else.
func (p *Porter) Accept() (net.Conn, error) {
	select {
	case guest := <-p.guests:
		return guest, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// Close ends the listener; who is being answered is answered.
func (p *Porter) Close() error {
	p.close.Do(func() { close(p.closed) })
	return p.Listener.Close()
}

func (p *Porter) open() {
	for {
		conn, err := p.Listener.Accept()
		switch {
		case err == nil:
			go p.receive(conn)
		case errors.Is(err, net.ErrClosed):
			p.close.Do(func() { close(p.closed) })
			return
		default:
			time.Sleep(pause)
		}
	}
}

// receive answers a question that comes whole and in one piece, as proxies send it.
func (p *Porter) receive(conn net.Conn) {
	said := make([]byte, longest)
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		_ = conn.Close()
		return
	}
	n, err := conn.Read(said)
	if err != nil && n == 0 {
		_ = conn.Close()
		return
	}
	if answer := p.answers[asked(said[:n])]; answer != nil {
		_, _ = conn.Write(render(answer())) // who asks has gone when this fails
		_ = conn.Close()
		return
	}
	if err := conn.SetReadDeadline(time.Time{}); err != nil {
		_ = conn.Close()
		return
	}
	select {
	case p.guests <- &guest{Conn: conn, said: said[:n]}:
	case <-p.closed:
		_ = conn.Close()
	}
}

// asked is the path of a GET without a query, "" of everything else.
func asked(request []byte) string {
	if !bytes.HasSuffix(request, []byte("\r\n\r\n")) {
		return ""
	}
	line, _, _ := bytes.Cut(request, []byte("\r\n"))
	method, rest, _ := bytes.Cut(line, []byte(" "))
	path, version, _ := bytes.Cut(rest, []byte(" "))
	if string(method) != http.MethodGet || !bytes.HasPrefix(version, []byte("HTTP/1.")) {
		return ""
	}
	return string(path)
}

func render(status int, body []byte) []byte {
	head := "HTTP/1.1 " + strconv.Itoa(status) + " " + http.StatusText(status) +
		"\r\nContent-Type: application/json\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\nConnection: close\r\n\r\n"
	return append([]byte(head), body...)
}

// guest is a connection of which the first word was read already.
type guest struct {
	net.Conn
	said []byte
}

// Read gives the first word first.
func (g *guest) Read(b []byte) (int, error) {
	if len(g.said) == 0 {
		return g.Conn.Read(b)
	}
	n := copy(b, g.said)
	g.said = g.said[n:]
	return n, nil
}
