package dns

import (
	"context"
	"encoding/base64"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/ofitec/ofitec/deploy"
	"github.com/ofitec/ofitec/events"
)

const name = "erp.ofitec.test"

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// bind starts a real server from deploy's files and gives its address and the folder of its key.
func bind(t *testing.T, first string) (server string, key Key) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a real DNS server")
	}
	named := "/usr/sbin/named"
	if _, err := os.Stat(named); err != nil {
		t.Skip("BIND is not installed: updates are tested where it is")
	}
	dir := t.TempDir()
	port, control := freePort(t), freePort(t)
	secret := func(who string) deploy.BINDKey {
		return deploy.BINDKey{Name: who, Secret: base64.StdEncoding.EncodeToString([]byte("a test secret of 32 bytes " + who + "......"))}
	}
	b := deploy.BIND{
		Dir: dir, Listen: []string{"127.0.0.1"}, Port: port, ControlPort: control, KeyFile: filepath.Join(dir, "keys.conf"),
		UpdateKey: "ofitec-update", ControlKey: "ofitec-control", Zone: "ofitec.test", Name: name, TTL: 1, Address: first, Epoch: 1,
	}
	write := func(name string, content []byte, err error) string {
		must(t, err)
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, content, 0o600))
		return path
	}
	keys, err := deploy.RenderBINDKeys(secret("ofitec-update"), secret("ofitec-control"))
	write("keys.conf", keys, err)
	own, err := deploy.RenderBINDKeys(secret("ofitec-update"))
	keyFile := write("tsig.key", own, err)
	zone, err := b.RenderZone()
	write("ofitec.test.zone", zone, err)
	conf, err := b.RenderConf()
	cmd := exec.Command(named, "-g", "-c", write("named.conf", conf, err))
	must(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	server = "127.0.0.1:" + strconv.Itoa(port)
	key, err = ReadKey(keyFile)
	must(t, err)
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		if _, err := NewRFC2136(server, "ofitec.test", key).Lookup(context.Background(), name); err == nil {
			return server, key
		} else if time.Since(began) > 20*time.Second {
			t.Fatalf("BIND does not answer: %v", err)
		}
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

func record(address string, epoch events.Epoch) Record {
	return Record{Name: name, Address: address, TTL: time.Second, Epoch: epoch}
}

func TestTheNameMovesWithItsEpochAndNeverBack(t *testing.T) {
	server, key := bind(t, "127.0.0.11")
	p, ctx := NewRFC2136(server, "ofitec.test", key), context.Background()
	is := func(want Record) {
		t.Helper()
		if got, err := p.Lookup(ctx, name); err != nil || got != want {
			t.Errorf("the name is %+v, %v; want %+v", got, err, want)
		}
	}
	is(record("127.0.0.11", 1))
	must(t, p.Set(ctx, record("127.0.0.12", 2)))
	is(record("127.0.0.12", 2))
	must(t, p.Set(ctx, record("127.0.0.12", 2))) // again
	var smaller *SmallerError
	if err := p.Set(ctx, record("127.0.0.11", 1)); !errors.As(err, &smaller) || smaller.Seen != 2 {
		t.Errorf("a smaller epoch gives %v", err)
	}
	is(record("127.0.0.12", 2))
	must(t, p.Set(ctx, record("127.0.0.13", 2))) // the address was changed by hand, the epoch not: it is put right
	is(record("127.0.0.13", 2))
}

func TestANameThatIsNotThereYetIsMade(t *testing.T) {
	server, key := bind(t, "")
	p, ctx := NewRFC2136(server, "ofitec.test", key), context.Background()
	if got, err := p.Lookup(ctx, name); err != nil || got.Address != "" || got.Epoch != 0 {
		t.Errorf("before: %+v, %v", got, err)
	}
	must(t, p.Set(ctx, record("127.0.0.11", 1)))
	if got, err := p.Lookup(ctx, name); err != nil || got != record("127.0.0.11", 1) {
		t.Errorf("after: %+v, %v", got, err)
	}
}

func TestOfManyWhoMoveTheNameAtOnceTheHighestEpochStays(t *testing.T) {
	server, key := bind(t, "127.0.0.11")
	var all sync.WaitGroup
	for epoch := events.Epoch(2); epoch <= 9; epoch++ {
		all.Go(func() {
			p := NewRFC2136(server, "ofitec.test", key)
			for {
				err := p.Set(context.Background(), record("127.0.0."+strconv.Itoa(int(epoch)), epoch))
				var smaller *SmallerError
				if err == nil || errors.As(err, &smaller) {
					return
				}
				if !errors.Is(err, ErrChanged) {
					t.Errorf("epoch %d: %v", epoch, err)
					return
				}
			}
		})
	}
	all.Wait()
	if got, err := NewRFC2136(server, "ofitec.test", key).Lookup(context.Background(), name); err != nil || got != record("127.0.0.9", 9) {
		t.Errorf("the name is %+v, %v", got, err)
	}
}

func TestAWrongKeyMovesNothing(t *testing.T) {
	server, key := bind(t, "127.0.0.11")
	wrong := key
	wrong.secret = base64.StdEncoding.EncodeToString([]byte("another secret of 32 bytes ......"))
	err := NewRFC2136(server, "ofitec.test", wrong).Set(context.Background(), record("127.0.0.12", 2))
	if err == nil || strings.Contains(err.Error(), wrong.secret) {
		t.Errorf("a wrong key gives %v", err)
	}
	if got, _ := NewRFC2136(server, "ofitec.test", key).Lookup(context.Background(), name); got != record("127.0.0.11", 1) {
		t.Errorf("the name is %+v", got)
	}
}

// serveTCP starts a server that answers as it is told.
func serveTCP(t *testing.T, answer dns.HandlerFunc) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	server := &dns.Server{Listener: listener, Handler: answer}
	go func() { _ = server.ActivateAndServe() }()
	t.Cleanup(func() { _ = server.Shutdown() })
	return listener.Addr().String()
}

func TestAServerThatLiesOrKeepsSilentIsAnErrorInTime(t *testing.T) {
	key := Key{name: "k", algorithm: "hmac-sha256", secret: base64.StdEncoding.EncodeToString([]byte("sixteen bytes of secret"))}
	for what, answer := range map[string]dns.HandlerFunc{
		"is not signed": func(w dns.ResponseWriter, q *dns.Msg) {
			reply := new(dns.Msg).SetReply(q)
			reply.Authoritative = true
			_ = w.WriteMsg(reply)
		},
		"i/o timeout": func(dns.ResponseWriter, *dns.Msg) {},
	} {
		ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
		p, began := NewRFC2136(serveTCP(t, answer), "ofitec.test", key), time.Now()
		err := p.Set(ctx, record("127.0.0.12", 2))
		cancel()
		if err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("want an error that says %q, got %v", what, err)
		}
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("%s: after %s", what, took)
		}
	}
}

func TestAKeyFileIsReadOrItsFaultIsSaid(t *testing.T) {
	good := `key "k" { algorithm hmac-sha256; secret "` + base64.StdEncoding.EncodeToString([]byte("a secret of many bytes")) + `"; };`
	for content, want := range map[string]string{
		good:                                    "",
		good + good:                             "one key",
		strings.Replace(good, "256", "1", 1):    "algorithm",
		`key "k" { algorithm hmac-sha256; };`:   "a secret",
		strings.Replace(good, `t "`, `t "*`, 1): "base64",
	} {
		path := filepath.Join(t.TempDir(), "tsig.key")
		must(t, os.WriteFile(path, []byte(content), 0o600))
		_, err := ReadKey(path)
		if (want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", content, err, want)
		}
	}
}
