package natsclient_test

import (
	"context"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/ofitec/ofitec/chassis"
	"github.com/ofitec/ofitec/chassis/chassistest"
	"github.com/ofitec/ofitec/chassis/natsclient"
)

func connect(t *testing.T, url string) *nats.Conn {
	t.Helper()
	settings := chassis.NewSettings()
	settings.NATS.URLs = []string{url}
	conn, _, err := natsclient.Connect(t.Context(), settings, "rotator", "a")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}

func awaitReady(t *testing.T, conn *nats.Conn) {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); natsclient.Check(conn)(t.Context()) != nil; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(natsclient.Check(conn)(t.Context()))
		}
	}
}

func TestABusThatComesLaterIsJoined(t *testing.T) {
	addr := chassistest.FreeAddr(t)
	conn := connect(t, "nats://"+addr)
	if err := natsclient.Check(conn)(t.Context()); err == nil || !strings.Contains(err.Error(), "not connected to NATS") {
		t.Errorf("without a bus: %v", err)
	}
	chassistest.NATSAt(t, addr)
	awaitReady(t, conn)
}

func TestRepliesComeToTheServicesOwnInbox(t *testing.T) {
	conn := connect(t, chassistest.NATS(t))
	awaitReady(t, conn)
	if inbox := conn.NewRespInbox(); !strings.HasPrefix(inbox, "_INBOX.rotator.a.") {
		t.Errorf("inbox %s", inbox)
	}
}

func TestDrainFinishesWhatIsUnderWay(t *testing.T) {
	url := chassistest.NATS(t)
	conn, other := connect(t, url), connect(t, url)
	awaitReady(t, conn)
	awaitReady(t, other)
	started, handled := make(chan struct{}), make(chan struct{})
	if _, err := conn.Subscribe("ofitec.a.health.observed.v1.x", func(*nats.Msg) {
		close(started)
		time.Sleep(200 * time.Millisecond)
		close(handled)
	}); err != nil {
		t.Fatal(err)
	}
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := other.Publish("ofitec.a.health.observed.v1.x", nil); err != nil {
		t.Fatal(err)
	}
	<-started
	natsclient.Drain(conn)
	select {
	case <-handled:
	default:
		t.Error("drained before the message was handled")
	}
	if !conn.IsClosed() {
		t.Error("still open")
	}
}

func TestDrainDoesNotWaitForABusThatIsAway(t *testing.T) {
	conn := connect(t, "nats://"+chassistest.FreeAddr(t))
	start := time.Now()
	natsclient.Drain(conn)
	if took := time.Since(start); took > 2*time.Second || !conn.IsClosed() {
		t.Errorf("took %s, closed %v", took, conn.IsClosed())
	}
}

func TestOnlyAnIdentityOfTheAuthorityJoinsAnEncryptedBus(t *testing.T) {
	a := chassistest.NewAuthority(t)
	cert, key, ca := a.Issue(t, t.TempDir(), "nats.a")
	source, err := chassis.TLSFiles{Cert: cert, Key: key, CA: ca}.Open()
	if err != nil {
		t.Fatal(err)
	}
	bus, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true, TLSConfig: source.Server(), TLSVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	bus.Start()
	t.Cleanup(bus.Shutdown)
	if !bus.ReadyForConnections(10 * time.Second) {
		t.Fatal("bus is not ready")
	}
	join := func(files chassis.TLSFiles) *nats.Conn {
		settings := chassis.NewSettings()
		settings.NATS.URLs, settings.TLS = []string{"tls://" + bus.Addr().String()}, files
		conn, _, err := natsclient.Connect(t.Context(), settings, "rotator", "a")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(conn.Close)
		return conn
	}
	stranger := join(chassis.TLSFiles{CA: ca})
	var own chassis.TLSFiles
	own.Cert, own.Key, own.CA = a.Issue(t, t.TempDir(), "rotator.a")
	awaitReady(t, join(own))
	if natsclient.Check(stranger)(t.Context()) == nil {
		t.Error("a client without a certificate has joined")
	}
}

func TestARefusalIsNotTheEndTheIdentityMayBeMadeLater(t *testing.T) {
	addr := chassistest.FreeAddr(t)
	_, portText, _ := net.SplitHostPort(addr)
	port, err := strconv.Atoi(portText)
	if err != nil {
		t.Fatal(err)
	}
	strict, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: port, Username: "somebody", Password: "else", NoLog: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	strict.Start()
	t.Cleanup(strict.Shutdown)
	if !strict.ReadyForConnections(10 * time.Second) {
		t.Fatal("bus is not ready")
	}
	conn := connect(t, "nats://"+addr)
	time.Sleep(3 * time.Second) // several attempts
	if err := natsclient.Check(conn)(t.Context()); err == nil || !strings.Contains(strings.ToLower(err.Error()), "authorization") {
		t.Errorf("while refused: %v", err)
	}
	strict.Shutdown()
	strict.WaitForShutdown()
	chassistest.NATSAt(t, addr)
	awaitReady(t, conn)
}

func TestACredentialsFileThatCannotBeReadIsAnError(t *testing.T) {
	settings := chassis.NewSettings()
	settings.NATS.URLs, settings.NATS.Credentials = []string{chassistest.NATS(t)}, "/nowhere.creds"
	if _, _, err := natsclient.Connect(t.Context(), settings, "rotator", "a"); err == nil || !strings.Contains(err.Error(), "/nowhere.creds") {
		t.Errorf("error %v", err)
	}
}

func TestTLSFilesThatCannotBeReadAreAnError(t *testing.T) {
	settings := chassis.NewSettings()
	settings.NATS.URLs, settings.TLS.CA = []string{"tls://127.0.0.1:1"}, "/nowhere.crt"
	if _, _, err := natsclient.Connect(context.Background(), settings, "rotator", "a"); err == nil || !strings.Contains(err.Error(), "/nowhere.crt") {
		t.Errorf("error %v", err)
	}
}
