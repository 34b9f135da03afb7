package deploy

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// tlsConfig is a client that believes files.CA and shows files' certificate.
func tlsConfig(t *testing.T, files TLSFiles) *tls.Config {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(files.CA)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	return &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: pool}
}

func TestThreeEtcdMembersServeClientsWithACertificateOnly(t *testing.T) {
	etcd := built(t, "etcd")
	dir := shortDir(t)
	ca := newAuthority(t)
	server := ca.issue(t, dir+"/server", -1, "etcd.test")
	service := ca.issue(t, dir+"/service", -1)
	var members []EtcdMember
	for _, name := range []string{"a", "b", "c"} {
		members = append(members, EtcdMember{Name: name, Peer: freeAddress(t)})
	}
	clients := map[string]string{}
	for _, member := range members {
		e := Etcd{
			Name: member.Name, DataDir: filepath.Join(dir, member.Name), Client: freeAddress(t), Peer: member.Peer, Members: members,
			ClientTLS: server, PeerNames: []string{"etcd.test"},
		}
		clients[member.Name] = e.Client
		content, err := e.Render()
		start(t, exec.Command(etcd, "--config-file", write(t, dir, member.Name+".yml", content, err)))
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: tlsConfig(t, service)}, Timeout: 3 * time.Second}
	for name, address := range clients {
		within(t, 30*time.Second, "member "+name+" is healthy", func() bool {
			response, err := client.Get("https://" + address + "/health")
			if err != nil {
				return false
			}
			defer response.Body.Close()
			body, _ := io.ReadAll(response.Body)
			return strings.Contains(string(body), `"health":"true"`)
		})
	}
	response, err := client.Post("https://"+clients["a"]+"/v3/kv/range", "application/json", strings.NewReader(`{"key":"Lw=="}`))
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusNotFound {
		t.Errorf("the gateway answered %s, want that there is none", response.Status)
	}
	nobody := tlsConfig(t, service)
	nobody.Certificates = nil
	if response, err := (&http.Client{Transport: &http.Transport{TLSClientConfig: nobody}}).Get("https://" + clients["a"] + "/health"); err == nil {
		response.Body.Close()
		t.Error("a client without a certificate was served")
	}
	for what, files := range map[string]TLSFiles{"a service": service, "a member": server} {
		peer := &http.Client{Transport: &http.Transport{TLSClientConfig: tlsConfig(t, files)}, Timeout: 3 * time.Second}
		response, err := peer.Get("https://" + members[0].Peer + "/members")
		if err == nil {
			response.Body.Close()
		}
		if served := err == nil; served != (what == "a member") {
			t.Errorf("%s at the peer port: %v", what, err)
		}
	}
}

func TestAnElectionTimeoutBelowTenHeartbeatsIsRefusedByItsRule(t *testing.T) {
	_, err := Etcd{Heartbeat: 200 * time.Millisecond}.Render()
	for _, want := range []string{"etcd.Name", "etcd.Members", "rule R7"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error %v lacks %s", err, want)
		}
	}
}
