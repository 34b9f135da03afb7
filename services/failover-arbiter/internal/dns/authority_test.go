package dns_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ofitec/ofitec/services/failover-arbiter/internal/dns"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/dns/dnstest"
)

func TestTheAuthoritativeServerSaysWhatClientsAreTold(t *testing.T) {
	server := dnstest.Serve(t)
	a := dns.NewAuthority(server.Address)
	server.Hold(dnstest.Name, "A", 60, "192.0.2.11")
	if got, err := a.Lookup(t.Context(), dnstest.Name); err != nil || got != dnstest.Record("192.0.2.11", 0) {
		t.Errorf("without an epoch: %+v, %v", got, err)
	}
	server.Hold("_epoch."+dnstest.Name, "TXT", 60, `"4"`, `"7"`) // two writers that nothing keeps apart
	if got, err := a.Lookup(t.Context(), dnstest.Name); err != nil || got != dnstest.Record("192.0.2.11", 7) {
		t.Errorf("of two epochs the higher one counts: %+v, %v", got, err)
	}
	server.Hold("_epoch."+dnstest.Name, "TXT", 60, `"seven"`)
	if _, err := a.Lookup(t.Context(), dnstest.Name); err == nil || !strings.Contains(err.Error(), `"seven", want a number`) {
		t.Errorf("an epoch that is none gives %v", err)
	}
	alone, err := a.LookupAddress(t.Context(), dnstest.Name)
	if err != nil || !alone.Agrees(dnstest.Record("192.0.2.11", 9)) || alone.Agrees(dnstest.Record("192.0.2.12", 9)) {
		t.Errorf("the address alone: %+v, %v", alone, err)
	}
	server.Hold(dnstest.Name, "A", 60, "192.0.2.11", "192.0.2.12")
	if _, err := a.LookupAddress(t.Context(), dnstest.Name); err == nil || !strings.Contains(err.Error(), "it has 2 addresses") {
		t.Errorf("two addresses give %v", err)
	}
}

func TestAnAuthoritativeServerThatKeepsSilentIsAnErrorInTime(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	began := time.Now()
	if _, err := dns.NewAuthority(silent.Addr().String()).Lookup(ctx, dnstest.Name); err == nil || time.Since(began) > 3*time.Second {
		t.Errorf("after %s: %v", time.Since(began), err)
	}
}

func TestATokenIsOneWord(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	for content, good := range map[string]bool{"Sn3lZJTBX6kkg7OdcBUAxOO963GEIyGQqnFTOFYY\n": true, "": false, "two words": false, "line\nline": false, "señal": false} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		token, err := dns.ReadToken(path)
		if (err == nil) != good || good && token != strings.TrimSpace(content) {
			t.Errorf("%q gives %q, %v", content, token, err)
		}
		if err != nil && content != "" && strings.Contains(err.Error(), content) {
			t.Errorf("the error shows the token: %v", err)
		}
	}
}
