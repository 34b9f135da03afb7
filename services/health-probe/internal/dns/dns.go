// Package dns asks the authoritative server for the address of the service's name, past every resolver and cache.
package dns

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/ofitec/ofitec/services/health-probe/internal/observation"
	"github.com/ofitec/ofitec/services/health-probe/internal/reach"
)

// Server is the authoritative one. It is safe for concurrent use.
type Server struct {
	addr, name string
	addresses  []string // that the name may have; empty: any
}

// New names a server by host:port, and the name that is asked for.
func New(addr, name string, addresses ...string) *Server {
	return &Server{addr, strings.TrimSuffix(name, ".") + ".", addresses}
}

// Look asks once, until ctx ends. The server stands outside all regions, so its silence is unknown, never failed.
func (s *Server) Look(ctx context.Context) observation.Result {
	answer, err := s.ask(ctx)
	if err != nil {
		return observation.Unknown(s.addr + ": " + reach.Words(err))
	}
	address, err := judge(answer)
	if err != nil {
		return observation.Failed(s.name + " " + err.Error())
	}
	result := observation.OK()
	if len(s.addresses) > 0 && !slices.Contains(s.addresses, address) {
		result = observation.Failed(fmt.Sprintf("%s is %s, which is no region's address (%s)", s.name, address, strings.Join(s.addresses, ", ")))
	}
	result.Address = address
	return result
}

func (s *Server) ask(ctx context.Context) (dnsmessage.Message, error) {
	var answer dnsmessage.Message
	name, err := dnsmessage.NewName(s.name)
	if err != nil {
		return answer, fmt.Errorf("name %q: %w", s.name, err)
	}
	// Recursion is not asked for: a resolver in the server's place has nothing to answer then.
	question := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: uint16(rand.Uint32())}, //nolint:gosec // the answer comes from the server that was dialled
		Questions: []dnsmessage.Question{{Name: name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}},
	}
	packed, err := question.Pack()
	if err != nil {
		return answer, fmt.Errorf("make question: %w", err)
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "udp", s.addr)
	if err != nil {
		return answer, err
	}
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	if _, err := conn.Write(packed); err != nil {
		return answer, err
	}
	buffer := make([]byte, 1232)
	for {
		n, err := conn.Read(buffer)
		if err != nil {
			return answer, errors.Join(ctx.Err(), err)
		}
		if answer.Unpack(buffer[:n]) == nil && answer.ID == question.ID && answer.Response {
			return answer, nil
		}
	}
}

// judge gives the one address of an authoritative answer.
func judge(answer dnsmessage.Message) (string, error) {
	switch {
	case answer.RCode != dnsmessage.RCodeSuccess:
		return "", fmt.Errorf("is refused: %s", strings.TrimPrefix(answer.RCode.String(), "RCode"))
	case !answer.Authoritative:
		return "", errors.New("is not answered with authority")
	}
	var found []string
	for _, resource := range answer.Answers {
		if a, ok := resource.Body.(*dnsmessage.AResource); ok {
			found = append(found, netip.AddrFrom4(a.A).String())
		}
	}
	if len(found) != 1 {
		return "", fmt.Errorf("has %d addresses, want 1", len(found))
	}
	return found[0], nil
}
