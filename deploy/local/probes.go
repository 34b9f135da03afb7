package local

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/ofitec/ofitec/deploy/local/layout"
	"github.com/ofitec/ofitec/deploy/local/supervise"
)

// probe is a readiness check of a component.
type probe = func(ctx context.Context) error

// httpReady is ready when a GET answers 200; otherwise the error holds the first line of what was answered.
func httpReady(url string, client *http.Client) probe {
	return func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return fmt.Errorf("make request: %w", err)
		}
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		defer func() { _ = response.Body.Close() }()
		if response.StatusCode == http.StatusOK {
			return nil
		}
		body, _ := io.ReadAll(io.LimitReader(response.Body, 300))
		return fmt.Errorf("%s answers %d: %s", url, response.StatusCode, strings.Join(strings.Fields(string(body)), " "))
	}
}

// natsReady sees a server that has switched its JetStream off, as it does on a full disk: it stays off when there is room again, until the server is started anew.
func natsReady(url string) probe {
	healthy := httpReady(url, plainClient())
	return func(ctx context.Context) error {
		err := healthy(ctx)
		if err != nil && strings.Contains(err.Error(), "JetStream not enabled") {
			return fmt.Errorf("%w: %w", supervise.ErrWedged, err)
		}
		return err
	}
}

func plainClient() *http.Client {
	return &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
}

// operatorTLS is the operator's identity towards the stack's servers.
func operatorTLS(l layout.Layout) (*tls.Config, error) {
	dir := l.OperatorIdentityDir()
	certificate, err := tls.LoadX509KeyPair(filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"))
	if err != nil {
		return nil, fmt.Errorf("load the operator's certificate: %w", err)
	}
	authority, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil {
		return nil, fmt.Errorf("load the CA: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(authority) {
		return nil, fmt.Errorf("load the CA: %s holds no certificate", filepath.Join(dir, "ca.crt"))
	}
	return &tls.Config{Certificates: []tls.Certificate{certificate}, RootCAs: pool, MinVersion: tls.VersionTLS12}, nil
}

func tlsClient(config *tls.Config) *http.Client {
	return &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
}

// etcdReady is ready when the member answers a linearizable read, which needs a quorum behind it.
func etcdReady(endpoint string, config *tls.Config) probe {
	return func(ctx context.Context) error {
		client, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, TLS: config, DialTimeout: 2 * time.Second, Logger: zap.NewNop(), Context: ctx})
		if err != nil {
			return fmt.Errorf("connect to etcd: %w", err)
		}
		defer func() { _ = client.Close() }()
		_, err = client.Get(ctx, "health")
		if errors.Is(err, rpctypes.ErrPermissionDenied) {
			return nil
		}
		return err
	}
}

// postgresReady is ready when the superuser gets an answer over the Unix socket.
func postgresReady(socketDir string) probe {
	return func(ctx context.Context) error {
		conn, err := superuser(ctx, socketDir, "postgres")
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
		return conn.Ping(ctx)
	}
}

func superuser(ctx context.Context, socketDir, database string) (*pgx.Conn, error) {
	conn, err := pgx.Connect(ctx, fmt.Sprintf("host=%s port=%d user=postgres dbname=%s application_name=ofitec_up", socketDir, layout.PortPostgres, database))
	if err != nil {
		return nil, fmt.Errorf("connect to PostgreSQL: %w", err)
	}
	return conn, nil
}

// dnsReady is ready when the server answers for the name.
func dnsReady(server, name string) probe {
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, server)
	}}
	return func(ctx context.Context) error {
		_, err := resolver.LookupHost(ctx, name+".")
		return err
	}
}
