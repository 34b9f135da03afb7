package main

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/ofitec/ofitec/chassis/tlsfile"
	"github.com/ofitec/ofitec/deploy/local/layout"
)

// operator reaches the stack's servers with the operator's identity.
type operator struct {
	layout layout.Layout
	tls    *tlsfile.Source
	http   *http.Client
}

func newOperator(l layout.Layout) (*operator, error) {
	dir := l.OperatorIdentityDir()
	source, err := tlsfile.Open(tlsfile.Files{Cert: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key"), CA: filepath.Join(dir, "ca.crt")})
	if err != nil {
		return nil, fmt.Errorf("open the operator's identity: %w; the stack makes it at its first start", err)
	}
	transport := &http.Transport{TLSClientConfig: source.Client(), DisableKeepAlives: true}
	return &operator{layout: l, tls: source, http: &http.Client{Transport: transport, Timeout: 2 * time.Second}}, nil
}

// etcd connects to all members; the caller closes it.
func (o *operator) etcd(ctx context.Context, regions ...layout.Region) (*clientv3.Client, error) {
	if len(regions) == 0 {
		regions = layout.Regions
	}
	var endpoints []string
	for _, r := range regions {
		endpoints = append(endpoints, "https://"+o.layout.Addressing.Addr(r, layout.PortEtcd))
	}
	client, err := clientv3.New(clientv3.Config{Endpoints: endpoints, TLS: o.tls.Client(), DialTimeout: 2 * time.Second, Logger: zap.NewNop(), Context: ctx})
	if err != nil {
		return nil, fmt.Errorf("connect to etcd: %w", err)
	}
	return client, nil
}

// nats connects to the bus; the caller closes it.
func (o *operator) nats() (*nats.Conn, jetstream.JetStream, error) {
	urls := ""
	for i, r := range layout.Regions {
		if i > 0 {
			urls += ","
		}
		urls += "tls://" + o.layout.Addressing.Addr(r, layout.PortNATS)
	}
	conn, err := nats.Connect(urls,
		nats.Name("operator"), nats.UserCredentials(filepath.Join(o.layout.OperatorIdentityDir(), "nats.creds")),
		nats.Secure(o.tls.Client()), nats.CustomInboxPrefix("_INBOX.operator.a"), nats.Timeout(2*time.Second), nats.MaxReconnects(5))
	if err != nil {
		return nil, nil, fmt.Errorf("connect to NATS: %w", err)
	}
	stream, err := jetstream.New(conn)
	if err != nil {
		conn.Close()
		return nil, nil, fmt.Errorf("open JetStream: %w", err)
	}
	return conn, stream, nil
}
