package porter

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// serve has a porter before a server that repeats what it is asked.
func serve(t *testing.T) (address string, p *Porter) {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p = New(listener, map[string]Answer{"/mandate": func() (int, []byte) { return http.StatusServiceUnavailable, []byte(`{"yes":false}`) }})
	server := &http.Server{ReadHeaderTimeout: 30 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // what is missing is not repeated
		fmt.Fprintf(w, "server: %s %s %s", r.Method, r.URL, body)
	})}
	done := make(chan error, 1)
	go func() { done <- server.Serve(p) }()
	t.Cleanup(func() {
		_ = server.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			t.Errorf("the server ended with %v", err)
		}
	})
	return listener.Addr().String(), p
}

// say sends pieces, a moment apart, and gives the answer.
func say(t *testing.T, address string, pieces ...string) string {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(25 * time.Second))
	for n, piece := range pieces {
		if n > 0 {
			time.Sleep(20 * time.Millisecond)
		}
		if _, err := io.WriteString(conn, piece); err != nil {
			t.Fatal(err)
		}
	}
	answer, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	return string(answer)
}

func TestAQuestionIsAnsweredAtTheDoorAndEverythingElseByTheServer(t *testing.T) {
	address, _ := serve(t)
	const closing = "Host: x\r\nConnection: close\r\n"
	for _, c := range []struct {
		name   string
		pieces []string
		says   string
		joined string // said as well, to pieces that a busy machine has joined
	}{
		{"a proxy's check", []string{"GET /mandate HTTP/1.0\r\n\r\n"}, `{"yes":false}`, ""},
		{"a client's question", []string{"GET /mandate HTTP/1.1\r\n" + closing + "\r\n"}, `{"yes":false}`, ""},
		{"in two pieces", []string{"GET /man", "date HTTP/1.0\r\n\r\n"}, "server: GET /mandate ", `{"yes":false}`},
		{"with a query", []string{"GET /mandate?x=1 HTTP/1.0\r\n\r\n"}, "server: GET /mandate?x=1 ", ""},
		{"another method", []string{"POST /mandate HTTP/1.1\r\n" + closing + "Content-Length: 2\r\n\r\n", "hi"}, "server: POST /mandate hi", ""},
		{"another path", []string{"GET /metrics HTTP/1.0\r\n\r\n"}, "server: GET /metrics ", ""},
		{"no HTTP", []string{"hello\r\n\r\n"}, "400 Bad Request", ""},
	} {
		answer := say(t, address, c.pieces...)
		if c.joined != "" && strings.HasSuffix(answer, c.joined) {
			continue
		}
		if !strings.HasSuffix(answer, c.says) && !strings.Contains(answer, "\n"+c.says) && !strings.Contains(answer, " "+c.says) {
			t.Errorf("%s: %q, want %q", c.name, answer, c.says)
		}
	}
	response, err := http.Get("http://" + address + "/mandate") //nolint:noctx // the test ends it
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if body, err := io.ReadAll(response.Body); err != nil || response.StatusCode != 503 || string(body) != `{"yes":false}` {
		t.Errorf("%d %q, %v", response.StatusCode, body, err)
	}
}

func TestWhoSaysNothingHoldsUpNobody(t *testing.T) {
	address, _ := serve(t)
	for range 50 {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	if answer := say(t, address, "GET /mandate HTTP/1.0\r\n\r\n"); !strings.Contains(answer, "503") { // one after the other, it would be answered after 50 patiences
		t.Error(answer)
	}
}

func TestAClosedDoorLetsNobodyIn(t *testing.T) {
	address, p := serve(t)
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept: %v", err)
	}
	if _, err := new(net.Dialer).DialContext(t.Context(), "tcp", address); err == nil {
		t.Error("the door is open")
	}
}
