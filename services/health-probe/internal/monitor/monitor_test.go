package monitor

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func TestAServerSaysWhatItHoldsAndThatItHoldsNothingAnyMore(t *testing.T) {
	bus, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, HTTPHost: "127.0.0.1", HTTPPort: -1, JetStream: true, JetStreamMaxStore: 1 << 20, StoreDir: t.TempDir(), NoLog: true, NoSigs: true})
	must(t, err)
	bus.Start()
	defer bus.Shutdown()
	if !bus.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server does not start")
	}
	conn, err := nats.Connect(bus.ClientURL())
	must(t, err)
	defer conn.Close()
	js, err := jetstream.New(conn)
	must(t, err)
	_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "X", Subjects: []string{"x"}})
	must(t, err)
	_, err = js.Publish(t.Context(), "x", make([]byte, 10_000))
	must(t, err)

	s := Server{URL: "http://" + bus.MonitorAddr().String(), Client: http.DefaultClient}
	if got, err := s.Look(t.Context()); err != nil || !got.Serves || got.Stored < 10_000 || got.Stored > 20_000 || got.Limit != 1<<20 {
		t.Errorf("it says %+v, %v", got, err)
	}
	must(t, bus.DisableJetStream()) // as it does itself when its disk is full
	if got, err := s.Look(t.Context()); err != nil || got.Serves {
		t.Errorf("switched off it says %+v, %v", got, err)
	}
	bus.Shutdown()
	if got, err := s.Look(t.Context()); err == nil {
		t.Errorf("a server that is gone says %+v", got)
	}
}

func TestAnAnswerThatIsNoneIsAnError(t *testing.T) {
	for says, answer := range map[string]http.HandlerFunc{
		"answers 404": http.NotFound,
		"invalid":     func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) },
	} {
		other := httptest.NewServer(answer)
		if _, err := (Server{URL: other.URL, Client: other.Client()}).Look(t.Context()); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want %q", err, says)
		}
		other.Close()
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
