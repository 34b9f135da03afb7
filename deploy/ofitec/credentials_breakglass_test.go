package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ofitec/ofitec/chassis/etcd/etcdtest"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
)

// brokenBus is a way of taking a user while the bus is away; the rest is as given.
func brokenBus(t *testing.T, endpoint string) (way glassWay, back *bool) {
	t.Helper()
	back = new(bool)
	return glassWay{
		user: func(context.Context) (glass, error) {
			return glass{user: "v-operator-break-gl-x", password: "password-of-the-glass", fingerprint: strings.Repeat("a", 64), expires: time.Now().Add(15 * time.Minute),
				giveBack: func(context.Context) error { *back = true; return nil }}, nil
		},
		publish: func(context.Context, events.Event) error { return errors.New("connect to NATS: no servers available") },
		etcd: func(context.Context) (*clientv3.Client, error) {
			return clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, DialTimeout: time.Second})
		},
		known:  func(context.Context) (rotatedAll, error) { return applicationAt(7), nil },
		untold: untold(filepath.Join(t.TempDir(), "untold")),
		login:  func(g glass) string { return "PGUSER=" + g.user + "\nPGPASSWORD=" + g.password + "\n" },
	}, back
}

// That the rotator brings it to the bus when that is back is shown beside the rotator.
func TestGlassIsBrokenWithoutTheBusAndTheFactWaitsInEtcd(t *testing.T) {
	endpoint := etcdtest.Start(t)
	way, back := brokenBus(t, endpoint)
	file := filepath.Join(t.TempDir(), "glass.env")
	by := asked()
	by.At = time.Now().UTC()
	taken, err := way.take(t.Context(), "odoo-app", file, by)
	if err != nil || *back || !strings.Contains(taken.Announced, "in etcd") {
		t.Fatalf("taken: %+v, given back: %v, %v", taken, *back, err)
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("the login's file: %v, %v", info, err)
	}
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, DialTimeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	waiting, err := client.Get(t.Context(), state.OutboxPrefix(events.ServiceRotator), clientv3.WithPrefix())
	if err != nil || len(waiting.Kvs) != 1 {
		t.Fatalf("%d events wait in the rotator's outbox, %v; want one", len(waiting.Kvs), err)
	}
	event, err := events.Decode(waiting.Kvs[0].Value)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := event.Payload()
	fact, ok := payload.(events.CredentialBreakGlass)
	if err != nil || !ok || fact.Act.Actor != by.Actor || fact.Act.Reason != by.Reason || fact.Version != 7 {
		t.Errorf("what waits is %+v, %v", payload, err)
	}
	if strings.Contains(string(waiting.Kvs[0].Value), "password-of-the-glass") {
		t.Error("the event holds the password")
	}
}

// applicationAt is what etcd knows while a version of the application's credential is in use.
func applicationAt(version int64) rotatedAll {
	application := rotated{Credential: state.Credential{Name: "odoo-app", Method: events.CredentialDatabase, Versions: []state.CredentialVersion{plain(version, state.StageCurrent)}}}
	application.Versions[0].Asked = []events.Region{"b", "a"}
	return rotatedAll{application}
}

func TestGlassIsBrokenWithoutBusAndEtcdAndToldWhenOneIsBack(t *testing.T) {
	way, back := brokenBus(t, "127.0.0.1:1")
	way.known = func(context.Context) (rotatedAll, error) {
		return nil, errors.New("read /ofitec/credentials/: context deadline exceeded")
	}
	file := filepath.Join(t.TempDir(), "glass.env")
	by := asked()
	by.At = time.Now().UTC()
	taken, err := way.take(t.Context(), "odoo-app", file, by)
	if err != nil || *back || !strings.Contains(taken.Announced, "nowhere yet") || !strings.Contains(taken.Announced, "ofitec credentials tell") {
		t.Fatalf("taken: %+v, given back: %v, %v", taken, *back, err)
	}
	var said bytes.Buffer
	if err := printBrokenGlass(&said, taken); err != nil || !strings.Contains(said.String(), "not checked: whether odoo-app is the application's credential") || !strings.Contains(said.String(), "deadline exceeded") {
		t.Errorf("said %q, %v", said.String(), err)
	}
	if login, err := os.ReadFile(file); err != nil || !strings.Contains(string(login), "password-of-the-glass") {
		t.Errorf("the login's file: %q, %v", login, err)
	}
	kept, err := filepath.Glob(string(way.untold) + "/*")
	if err != nil || len(kept) != 1 {
		t.Fatalf("kept: %v, %v", kept, err)
	}
	content, err := os.ReadFile(kept[0])
	if info, statErr := os.Stat(kept[0]); err != nil || statErr != nil || info.Mode() != 0o600 || strings.Contains(string(content), "password-of-the-glass") {
		t.Errorf("what is kept: %v, %v, %v", info, err, statErr)
	}

	if told, err := way.tell(t.Context()); err == nil || len(told) > 0 || !strings.Contains(err.Error(), "NATS") {
		t.Errorf("told while both are away: %v, %v", told, err)
	}
	if err := os.WriteFile(filepath.Join(string(way.untold), "z.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	var published []events.Event
	way.publish = func(_ context.Context, event events.Event) error { published = append(published, event); return nil }
	told, err := way.tell(t.Context())
	if err == nil || !strings.Contains(err.Error(), "z.json") || len(told) != 1 || told[0].Request != by.Request || told[0].Announced != "on the bus" {
		t.Errorf("told %+v, %v; what cannot be read must be said", told, err)
	}
	if len(published) != 1 {
		t.Fatalf("published %v", published)
	}
	if fact, err := events.PayloadOf[events.CredentialBreakGlass](published[0]); err != nil || fact.Act.Reason != by.Reason || !fact.Act.At.Equal(by.At) {
		t.Errorf("published %+v, %v", fact, err)
	}
	if _, err := os.Stat(kept[0]); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what was told is kept: %v", err)
	}
}

// TestWhatIsKeptIsToldInTheOrderInWhichItHappened has requests whose names stand the other way round.
func TestWhatIsKeptIsToldInTheOrderInWhichItHappened(t *testing.T) {
	way, _ := brokenBus(t, "127.0.0.1:1")
	for n, request := range []string{"zz-first", "mm-second", "aa-third"} {
		by := asked()
		by.Request, by.At = request, time.Now().UTC().Add(time.Duration(n-3)*time.Second)
		event, err := events.New(events.Origin{Region: events.RegionA, Service: "operator"}, by.At, events.CredentialBreakGlass{
			Credential: events.Credential{Name: "odoo-app", Kind: events.CredentialDatabase, Version: 7, Path: "ofitec/credentials/odoo-app", Fingerprint: strings.Repeat("a", 64)},
			Act:        by, ExpiresAt: by.At.Add(15 * time.Minute),
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := way.untold.keep(event); err != nil {
			t.Fatal(err)
		}
	}
	way.publish = func(context.Context, events.Event) error { return nil }
	told, err := way.tell(t.Context())
	if err != nil || len(told) != 3 || told[0].Request != "zz-first" || told[1].Request != "mm-second" || told[2].Request != "aa-third" {
		t.Errorf("told %+v, %v", told, err)
	}
}

func TestAUserThatNobodyCouldBeToldOfIsGivenBack(t *testing.T) {
	way, back := brokenBus(t, "127.0.0.1:1")
	if err := os.WriteFile(string(way.untold), nil, 0o600); err != nil { // so that no folder can be made there
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "glass.env")
	by := asked()
	by.At = time.Now().UTC()
	_, err := way.take(t.Context(), "odoo-app", file, by)
	if err == nil || !*back || !strings.Contains(err.Error(), "NATS") || !strings.Contains(err.Error(), "nobody would know") {
		t.Errorf("given back: %v, %v", *back, err)
	}
	if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the login's file is left: %v", err)
	}
}

func TestBreakGlassGivesTheApplicationsUsersOnly(t *testing.T) {
	first := rotated{Credential: state.Credential{Name: "first", Method: events.CredentialDatabase, Versions: []state.CredentialVersion{{Number: 1, Stage: state.StageCurrent}}}}
	reader := rotated{Credential: state.Credential{Name: "analytics-reader", Method: events.CredentialDatabase, Versions: []state.CredentialVersion{plain(2, state.StageCurrent)}}}
	secret := rotated{Credential: state.Credential{Name: "odoo-master", Method: events.CredentialKV, Versions: []state.CredentialVersion{plain(2, state.StageCurrent)}}}
	all := append(applicationAt(3), first, reader, secret)
	for name, want := range map[string]int64{"odoo-app": 3, "first": 1} {
		if version, err := all.inUse(name); err != nil || version != want {
			t.Errorf("%s: version %d, %v; want %d", name, version, err, want)
		}
	}
	for name, want := range map[string]string{"analytics-reader": "no deployer", "odoo-master": "of kind kv", "nobody": "none of that name"} {
		if _, err := all.inUse(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
}
