// Package etcd is how services use etcd: a client with the service's certificate as identity, one client an endpoint for what must not
// hang on one member, values under compare-and-swap, election with a term, and the outbox.
package etcd

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"github.com/ofitec/ofitec/chassis"
)

// grpc-go does not go below 10 s for keepalive: a member that vanished without a word is noticed by deadlines, not by this.
const (
	keepAlive   = 10 * time.Second
	dialTimeout = 2 * time.Second
)

// redial is how soon a member that refused a connection is tried again. grpc-go would wait up to two minutes after a long outage, during which nobody can
// renew anything at a member that is back.
var redial = backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 500 * time.Millisecond}

// Client is a clientv3.Client over all members, and one more for each member. It is safe for concurrent use; Close ends all of them.
type Client struct {
	*clientv3.Client
	endpoints []*clientv3.Client
	own       bool // the first of them is at the service's own address
}

// Connect makes the clients. It does not wait for the members, so that a service starts while they are away: each call says by its own
// deadline whether they are there. An error means settings that cannot work. Calls need a deadline, for without one they wait for ever.
// A member at the service's own address is the first one, wherever it stands in the list; where there is none, the first of the list is.
func Connect(s chassis.Settings) (*Client, error) {
	base := clientv3.Config{
		DialTimeout:          dialTimeout,
		DialKeepAliveTime:    keepAlive,
		DialKeepAliveTimeout: dialTimeout,
		DialOptions:          []grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{Backoff: redial, MinConnectTimeout: dialTimeout})},
		Logger:               zap.NewNop(), // errors reach the caller; the client's own log is not in our format
	}
	encrypted, err := encryption(s)
	if err != nil {
		return nil, fmt.Errorf("connect to etcd: %w", err)
	}
	base.TLS = encrypted
	members, own := ownFirst(s.Etcd.Endpoints, s.HTTPAddr)
	client := &Client{own: own}
	open := func(addresses ...string) (*clientv3.Client, error) {
		config := base
		config.Endpoints = addresses
		opened, err := clientv3.New(config)
		if err != nil {
			return nil, fmt.Errorf("connect to etcd %s: %w", strings.Join(addresses, ","), err)
		}
		return opened, nil
	}
	if client.Client, err = open(members...); err != nil {
		return nil, err
	}
	for _, address := range members {
		endpoint, err := open(address)
		if err != nil {
			return nil, errors.Join(err, client.Close())
		}
		client.endpoints = append(client.endpoints, endpoint)
	}
	return client, nil
}

// ownFirst puts the first member that is at the own address (OFITEC_HTTP_ADDR) before all others, whose order stays.
func ownFirst(members []string, own string) (ordered []string, found bool) {
	host, _, err := net.SplitHostPort(own)
	n := slices.IndexFunc(members, func(member string) bool { return isAt(member, host) })
	if err != nil || n < 0 {
		return members, false
	}
	return slices.Concat(members[n:n+1], members[:n], members[n+1:]), true
}

// isAt says whether a member, host:port or a URL, is at a host.
func isAt(member, host string) bool {
	if _, address, isURL := strings.Cut(member, "://"); isURL {
		member = address
	}
	there, _, err := net.SplitHostPort(strings.TrimSuffix(member, "/"))
	return err == nil && there == host
}

// encryption is the client's TLS when an endpoint asks for it.
func encryption(s chassis.Settings) (*tls.Config, error) {
	for _, address := range s.Etcd.Endpoints {
		if strings.HasPrefix(address, "https://") {
			source, err := s.TLS.Open()
			if err != nil {
				return nil, err
			}
			return source.Client(), nil
		}
	}
	return nil, nil
}

// First is the member that is asked first, and whether it is known to be the own region's, at the service's own address; else its place in the list alone makes it so.
func (c *Client) First() (address string, own bool) {
	return strings.Join(c.endpoints[0].Endpoints(), ","), c.own
}

// Endpoints is one client a member, the own region's first.
func (c *Client) Endpoints() []*clientv3.Client { return c.endpoints }

// Close ends all clients; calls under way fail.
func (c *Client) Close() error {
	err := c.Client.Close()
	for _, endpoint := range c.endpoints {
		err = errors.Join(err, endpoint.Close())
	}
	return err
}

// Check is ready when a member answers that knows a leader. It needs no permission on any key. It asks over the connections that stand: Status of the client's own
// dials, with a handshake, each time, which is much for a question that load balancers ask every second.
func (c *Client) Check(ctx context.Context) error {
	_, err := Race(ctx, c.endpoints, func(ctx context.Context, member *clientv3.Client) (struct{}, error) {
		status, err := etcdserverpb.NewMaintenanceClient(member.ActiveConnection()).Status(ctx, &etcdserverpb.StatusRequest{})
		if err == nil && status.Leader == 0 {
			err = errors.New("member knows no leader")
		}
		return struct{}{}, err
	})
	return err
}
