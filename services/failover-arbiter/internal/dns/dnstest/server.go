// Package dnstest has an authoritative server and what every provider of the name must do, for the tests of its kinds.
package dnstest

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"
)

// Server is authoritative for everything. It answers over TCP with what it is told to hold.
type Server struct {
	Address string // host:port

	mu      sync.Mutex
	records map[string][]string // lines of a zone file by name and type
}

// Serve starts a server that ends with the test.
func Serve(t *testing.T) *Server {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Address: listener.Addr().String(), records: map[string][]string{}}
	server := &dns.Server{Listener: listener, Handler: dns.HandlerFunc(s.answer)}
	served := make(chan struct{})
	started := make(chan struct{})
	server.NotifyStartedFunc = func() { close(started) }
	go func() { defer close(served); _ = server.ActivateAndServe() }()
	<-started
	t.Cleanup(func() { _ = server.Shutdown(); <-served })
	return s
}

// Hold replaces what it holds of a name and a type, as a zone file would write the values.
func (s *Server) Hold(name, kind string, ttl int, values ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := strings.ToLower(dns.Fqdn(name)) + " " + kind
	s.records[key] = nil
	for _, value := range values {
		s.records[key] = append(s.records[key], fmt.Sprintf("%s %d IN %s %s", dns.Fqdn(name), ttl, kind, value))
	}
}

func (s *Server) answer(w dns.ResponseWriter, question *dns.Msg) {
	reply := new(dns.Msg).SetReply(question)
	reply.Authoritative = true
	asked := question.Question[0]
	s.mu.Lock()
	lines := s.records[strings.ToLower(asked.Name)+" "+dns.TypeToString[asked.Qtype]]
	s.mu.Unlock()
	for _, line := range lines {
		rr, err := dns.NewRR(line)
		if err != nil {
			reply.Rcode = dns.RcodeServerFailure
			break
		}
		reply.Answer = append(reply.Answer, rr)
	}
	_ = w.WriteMsg(reply)
}
