package deploy

import (
	"bufio"
	"crypto/ed25519"
	"crypto/tls"
	"encoding/base32"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// nkey is a key of NATS' kind, made here so that this module needs no other one.
type nkey struct {
	public string
	secret ed25519.PrivateKey
}

func newNkey(prefix byte) nkey {
	public, secret, _ := ed25519.GenerateKey(nil)
	raw := append([]byte{prefix}, public...)
	var crc uint16
	for _, b := range raw {
		crc ^= uint16(b) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	raw = binary.LittleEndian.AppendUint16(raw, crc)
	return nkey{base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(raw), secret}
}

func (issuer nkey) sign(subject nkey, name string, claims map[string]any) string {
	encode := base64.RawURLEncoding.EncodeToString
	claims["version"] = 2
	body, _ := json.Marshal(map[string]any{"jti": name, "iat": time.Now().Unix(), "iss": issuer.public, "sub": subject.public, "name": name, "nats": claims})
	text := encode([]byte(`{"typ":"JWT","alg":"ed25519-nkey"}`)) + "." + encode(body)
	return text + "." + encode(ed25519.Sign(issuer.secret, []byte(text)))
}

func TestThreeNATSServersMakeAClusterThatNoStrangerJoins(t *testing.T) {
	program := built(t, "nats-server")
	dir := shortDir(t)
	files := newAuthority(t).issue(t, dir+"/tls", -1)
	operator, system, ops := newNkey(14<<3), newNkey(0), newNkey(0)
	limits := map[string]any{"subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1, "leaf": -1}
	n := NATS{
		TLS: files, RoutePassword: "a-password-of-the-routes-0123456789",
		OperatorJWT:   operator.sign(operator, "ofitec", map[string]any{"type": "operator"}),
		SystemAccount: system.public,
		Accounts: []NATSAccount{
			{system.public, operator.sign(system, "SYS", map[string]any{"type": "account", "limits": limits})},
			{ops.public, operator.sign(ops, "OPS", map[string]any{"type": "account", "limits": limits})},
		},
	}
	routes := []string{freeAddress(t), freeAddress(t), freeAddress(t)}
	var monitors []string
	for i, route := range routes {
		server := n
		server.ServerName, server.Client, server.Route, server.Monitor = fmt.Sprintf("ofitec-%d", i), freeAddress(t), route, freeAddress(t)
		server.StoreDir = filepath.Join(dir, server.ServerName)
		for _, other := range routes {
			if other != route {
				server.Routes = append(server.Routes, other)
			}
		}
		content, err := server.Render()
		start(t, exec.Command(program, "-c", write(t, dir, server.ServerName+".conf", content, err)))
		monitors, n.Client = append(monitors, server.Monitor), server.Client
	}
	for _, monitor := range monitors {
		within(t, 30*time.Second, "the server is healthy, JetStream's leader included", func() bool {
			body, ok := get("http://" + monitor + "/healthz")
			return ok && strings.Contains(body, `"ok"`)
		})
	}
	if body, _ := get("http://" + monitors[0] + "/varz"); !strings.Contains(body, `"sync_always": true`) || !strings.Contains(body, `"max_payload": 8000000`) && !strings.Contains(body, `"max_payload": 8388608`) {
		t.Errorf("the server runs with other settings:\n%s", body)
	}
	if body, _ := get("http://" + monitors[0] + "/jsz"); !strings.Contains(body, `"cluster_size": 3`) {
		t.Errorf("JetStream's group is not of three:\n%s", body)
	}
	if answer := connect(t, n.Client, tlsConfig(t, files), false, `{"verbose":true}`); !strings.Contains(answer, "Authorization Violation") {
		t.Errorf("a client without a user was answered %q", answer)
	}
	// A service's certificate is not enough to be a server.
	if answer := connect(t, routes[0], tlsConfig(t, files), true, `{"server_id":"NSTRANGER","name":"stranger","cluster":"ofitec","tls_required":true}`); !strings.Contains(answer, "Authorization Violation") {
		t.Errorf("a server without the password was answered %q", answer)
	}
}

func get(url string) (string, bool) {
	response, err := http.Get(url)
	if err != nil {
		return "", false
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	return string(body), response.StatusCode == http.StatusOK
}

// connect speaks NATS' first words over TLS and returns what follows the server's INFO.
func connect(t *testing.T, address string, config *tls.Config, route bool, words string) string {
	t.Helper()
	plain, err := net.DialTimeout("tcp", address, 2*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	_ = plain.SetDeadline(time.Now().Add(5 * time.Second))
	config.ServerName = "127.0.0.1"
	if route { // servers greet each other inside TLS
		plain = tls.Client(plain, config)
	}
	if info, err := bufio.NewReaderSize(plain, 1<<14).ReadString('\n'); err != nil || !strings.HasPrefix(info, "INFO") {
		t.Fatalf("first line %q, %v", info, err)
	}
	conn := plain
	if !route {
		conn = tls.Client(plain, config)
	}
	fmt.Fprintf(conn, "CONNECT %s\r\nPING\r\n", words)
	answer, _ := io.ReadAll(conn)
	return string(answer)
}
