package main

import (
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
		login: func(g glass) string { return "PGUSER=" + g.user + "\nPGPASSWORD=" + g.password + "\n" },
	}, back
}

// That the rotator brings it to the bus when that is back is shown beside the rotator.
func TestGlassIsBrokenWithoutTheBusAndTheFactWaitsInEtcd(t *testing.T) {
	endpoint := etcdtest.Start(t)
	way, back := brokenBus(t, endpoint)
	file := filepath.Join(t.TempDir(), "glass.env")
	by := asked()
	by.At = time.Now().UTC()
	taken, err := way.take(t.Context(), "odoo-app", 7, file, by)
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

func TestAUserThatNobodyCouldBeToldOfIsGivenBack(t *testing.T) {
	way, back := brokenBus(t, "127.0.0.1:1")
	file := filepath.Join(t.TempDir(), "glass.env")
	by := asked()
	by.At = time.Now().UTC()
	_, err := way.take(t.Context(), "odoo-app", 1, file, by)
	if err == nil || !*back || !strings.Contains(err.Error(), "NATS") {
		t.Errorf("given back: %v, %v", *back, err)
	}
	if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the login's file is left: %v", err)
	}
}

func TestBreakGlassGivesTheApplicationsUsersOnly(t *testing.T) {
	application := rotated{Credential: state.Credential{Name: "odoo-app", Method: events.CredentialDatabase, Versions: []state.CredentialVersion{plain(3, state.StageCurrent)}}}
	application.Versions[0].Asked = []events.Region{"b", "a"}
	first := rotated{Credential: state.Credential{Name: "first", Method: events.CredentialDatabase, Versions: []state.CredentialVersion{{Number: 1, Stage: state.StageCurrent}}}}
	reader := rotated{Credential: state.Credential{Name: "analytics-reader", Method: events.CredentialDatabase, Versions: []state.CredentialVersion{plain(2, state.StageCurrent)}}}
	secret := rotated{Credential: state.Credential{Name: "odoo-master", Method: events.CredentialKV, Versions: []state.CredentialVersion{plain(2, state.StageCurrent)}}}
	all := rotatedAll{application, first, reader, secret}
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
