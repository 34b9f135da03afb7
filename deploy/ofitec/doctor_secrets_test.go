package main

import (
	"fmt"
	"net"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/ofitec/ofitec/deploy/local/servers"
	"github.com/ofitec/ofitec/deploy/ofitec/leak"
	"github.com/ofitec/ofitec/events"
)

const leaked = "kept-5ecret-0123456789"

// chunk is the size of the messages into which a store cuts an object.
const chunk = 128 << 10

func newLeakSearch() *leak.Search {
	return leak.NewSearch(leak.NewFinder(map[string][]byte{"password": []byte(leaked)}))
}

// freePort is a port that was free a moment ago.
func freePort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return fmt.Sprint(listener.Addr().(*net.TCPAddr).Port)
}

// startServer runs a server of the cache until the test ends.
func startServer(t *testing.T, server servers.Server, arguments ...string) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a server")
	}
	program, ok := server.Find(t.Context())
	if !ok {
		t.Skipf("%s is not built; make setup builds it", server.Name)
	}
	command := exec.Command(program, arguments...)
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = command.Process.Kill(); _ = command.Wait() })
}

func TestASecretInAnyStreamIsFoundWhereverItStandsInTheMessage(t *testing.T) {
	port := freePort(t)
	startServer(t, servers.NATS, "-a", "127.0.0.1", "-p", port, "-js", "-sd", t.TempDir())
	conn, err := nats.Connect("nats://127.0.0.1:"+port, nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if _, err = js.AccountInfo(t.Context()); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	publish := func(subject, text, header string) {
		t.Helper()
		message := &nats.Msg{Subject: subject, Data: []byte(text), Header: nats.Header{"Ofitec-Reason": {header}}}
		if _, err := js.PublishMsg(t.Context(), message); err != nil {
			t.Fatal(err)
		}
	}
	// Far more than one batch, so that the search is seen to reach the end.
	for _, stream := range events.Streams {
		config := jetstream.StreamConfig{Name: stream.Name, Subjects: []string{"x." + stream.Name + ".>"}, Storage: jetstream.MemoryStorage}
		if stream.Retention == events.RetainWorkQueue {
			config.Retention = jetstream.WorkQueuePolicy
		}
		if _, err := js.CreateStream(t.Context(), config); err != nil {
			t.Fatal(err)
		}
		for n := range 1100 {
			publish("x."+stream.Name+".clean", fmt.Sprint("nothing to see ", n), "too late")
		}
	}
	bucket, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "ingest", History: 5, Storage: jetstream.MemoryStorage})
	if err != nil {
		t.Fatal(err)
	}
	store, err := js.CreateObjectStore(t.Context(), jetstream.ObjectStoreConfig{Bucket: "files", Storage: jetstream.MemoryStorage})
	if err != nil {
		t.Fatal(err)
	}
	keep := func(key, value, object string) {
		t.Helper()
		if _, err := bucket.PutString(t.Context(), key, value); err != nil {
			t.Fatal(err)
		}
		if _, err := store.PutString(t.Context(), "export", object); err != nil {
			t.Fatal(err)
		}
	}
	keep("invoice", "nothing to see", strings.Repeat("x", 3*chunk))
	all := func() []leak.Leak {
		t.Helper()
		search := newLeakSearch()
		searchStreams(t.Context(), js, search)
		if len(search.Missed) > 0 {
			t.Fatal(search.Missed)
		}
		if want := 1100 * len(events.Streams); search.Looked[leak.Message] < want {
			t.Errorf("looked at %d messages, want %d at least", search.Looked[leak.Message], want)
		}
		return search.Found
	}
	if found := all(); len(found) > 0 {
		t.Fatalf("found %v although nothing is leaked", found)
	}
	var want []leak.Leak
	for n, stream := range events.Streams {
		subject, text, header := "x."+stream.Name+".leak", "", ""
		switch n % 3 {
		case 0:
			text = `{"password":"` + leaked + `"}`
		case 1:
			header = "cannot open postgres://u:" + leaked + "@h"
		default:
			subject += "." + leaked
		}
		publish(subject, text, header)
		want = append(want, leak.Leak{Secret: "password", Kind: leak.Message, Where: fmt.Sprintf("%s 1101, %s", stream.Name, subject)})
	}
	// In a bucket's history it stands also when it was replaced since; in an object over the cut between two messages.
	keep("invoice", `{"cursor":"`+leaked+`"}`, strings.Repeat("x", chunk-7)+leaked+strings.Repeat("x", 1000))
	if _, err := bucket.PutString(t.Context(), "invoice", "clean again"); err != nil {
		t.Fatal(err)
	}
	want = append(want, leak.Leak{Secret: "password", Kind: leak.Message, Where: "KV_ingest 2, $KV.ingest.invoice"})
	found := all()
	inObject := slices.IndexFunc(found, func(l leak.Leak) bool { return strings.HasPrefix(l.Where, "OBJ_files ") })
	if inObject < 0 {
		t.Fatalf("found %v, want one in the object too", found)
	}
	if found = slices.Delete(found, inObject, inObject+1); !slices.Equal(found, want) {
		t.Errorf("found %v, want %v", found, want)
	}
}

func TestASecretInTheStateIsFound(t *testing.T) {
	client, peer := "http://127.0.0.1:"+freePort(t), "http://127.0.0.1:"+freePort(t)
	startServer(t, servers.Etcd, "--name", "x", "--data-dir", t.TempDir(), "--listen-client-urls", client, "--advertise-client-urls", client, "--listen-peer-urls", peer,
		"--initial-advertise-peer-urls", peer, "--initial-cluster", "x="+peer, "--log-level", "error")
	etcd, err := clientv3.New(clientv3.Config{Endpoints: []string{client}, DialTimeout: 2 * time.Second, Logger: zap.NewNop(), Context: t.Context()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = etcd.Close() }()
	put := func(key, value string) {
		t.Helper()
		if _, err := etcd.Put(t.Context(), key, value); err != nil {
			t.Fatal(err)
		}
	}
	look := func() []leak.Leak {
		t.Helper()
		search := newLeakSearch()
		if err := searchState(t.Context(), etcd, search); err != nil {
			t.Fatal(err)
		}
		return search.Found
	}
	put("/ofitec/credentials/odoo-app", `{"user":"v-1"}`)
	if found := look(); len(found) > 0 {
		t.Fatalf("found %v although nothing is leaked", found)
	}
	put("/ofitec/outbox/rotator/1", `{"data":"`+leaked+`"}`)
	if found := look(); !slices.Equal(found, []leak.Leak{{Secret: "password", Kind: leak.State, Where: "/ofitec/outbox/rotator/1"}}) {
		t.Errorf("found %v", found)
	}
}

func TestOnlyWhatIsSecretOfACredentialIsLookedFor(t *testing.T) {
	for field, secret := range map[string]bool{
		"password": true, "value": true, "secret_access_key": true, "session_token": true, "key": true,
		"username": false, "id": false, "epoch": false, "term": false, "access_key_id": false, "expiration": false,
	} {
		if secretField(field) != secret {
			t.Errorf("field %s is secret: %v, want %v", field, !secret, secret)
		}
	}
}
