// Package etcdtest runs a real etcd inside a test.
package etcdtest

import (
	"net"
	"net/url"
	"testing"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"
)

// Start runs a single member on free ports, open to everybody, and gives its client URL; the test's end stops it. The test fails when it is
// not ready in 20 s.
func Start(t testing.TB) string {
	t.Helper()
	return start(t, embed.NewConfig())
}

// StartTLS is Start for a member that shows the certificate and demands one of the authority from its clients.
func StartTLS(t testing.TB, cert, key, ca string) string {
	t.Helper()
	config := embed.NewConfig()
	config.ClientTLSInfo = transport.TLSInfo{CertFile: cert, KeyFile: key, TrustedCAFile: ca, ClientCertAuth: true}
	config.EnableGRPCGateway = false // its own certificate would count as a user
	return start(t, config)
}

func start(t testing.TB, config *embed.Config) string {
	t.Helper()
	config.Dir = t.TempDir()
	config.LogLevel = "error"
	config.UnsafeNoFsync = true // the data does not outlive the test
	client, peer := freeURL(t), freeURL(t)
	if !config.ClientTLSInfo.Empty() {
		client.Scheme = "https"
	}
	config.ListenClientUrls, config.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	config.ListenPeerUrls, config.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	config.InitialCluster = config.InitialClusterFromName(config.Name)
	server, err := embed.StartEtcd(config)
	if err != nil {
		t.Fatalf("start etcd: %v", err)
	}
	t.Cleanup(server.Close)
	select {
	case <-server.Server.ReadyNotify():
	case <-time.After(20 * time.Second):
		t.Fatal("etcd is not ready after 20 s")
	}
	return client.String()
}

func freeURL(t testing.TB) url.URL {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("find a free port: %v", err)
	}
	defer listener.Close()
	return url.URL{Scheme: "http", Host: listener.Addr().String()}
}
