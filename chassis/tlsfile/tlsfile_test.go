package tlsfile

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// authority signs certificates for one test.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	serial      int64
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{serial: 1}
	a.key = newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.certificate, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// issue writes certificate, key and authority for name into dir.
func (a *authority) issue(t *testing.T, dir, name string) Files {
	t.Helper()
	a.serial++
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(a.serial), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	files := Files{Cert: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key"), CA: filepath.Join(dir, "ca.crt")}
	write(t, files.Cert, "CERTIFICATE", der)
	write(t, files.Key, "PRIVATE KEY", keyDER)
	write(t, files.CA, "CERTIFICATE", a.certificate.Raw)
	return files
}

func write(t *testing.T, path, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, files Files) *Source {
	t.Helper()
	s, err := Open(files)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// meet makes one connection and gives the names that each side saw of the other.
func meet(t *testing.T, server, client *tls.Config) (ofServer, ofClient string, err error) {
	t.Helper()
	listener, err := tls.Listen("tcp", "127.0.0.1:0", server)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	type accepted struct {
		name string
		err  error
	}
	done := make(chan accepted, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			done <- accepted{err: err}
			return
		}
		defer conn.Close()
		if err := conn.(*tls.Conn).Handshake(); err != nil {
			done <- accepted{err: err}
			return
		}
		done <- accepted{name: conn.(*tls.Conn).ConnectionState().PeerCertificates[0].Subject.CommonName}
	}()
	conn, err := tls.Dial("tcp", listener.Addr().String(), client)
	if err != nil {
		return "", "", err
	}
	defer conn.Close()
	other := <-done
	return conn.ConnectionState().PeerCertificates[0].Subject.CommonName, other.name, other.err
}

// renewed lets the next look at the files happen now.
func renewed(s *Source) { s.checked = time.Time{} }

func TestBothSidesProveWhoTheyAre(t *testing.T) {
	a := newAuthority(t)
	server, client := open(t, a.issue(t, t.TempDir(), "etcd.a")), open(t, a.issue(t, t.TempDir(), "rotator.a"))
	ofServer, ofClient, err := meet(t, server.Server(), client.Client())
	if err != nil || ofServer != "etcd.a" || ofClient != "rotator.a" {
		t.Errorf("%s, %s, %v", ofServer, ofClient, err)
	}
}

func TestRenewedFilesAreUsedForTheNextConnectionOfBothSides(t *testing.T) {
	a := newAuthority(t)
	serverDir, clientDir := t.TempDir(), t.TempDir()
	server, client := open(t, a.issue(t, serverDir, "etcd.a")), open(t, a.issue(t, clientDir, "rotator.a"))
	serverConfig, clientConfig := server.Server(), client.Client()
	a.issue(t, serverDir, "etcd.a.renewed")
	a.issue(t, clientDir, "rotator.a.renewed")
	renewed(server)
	renewed(client)
	ofServer, ofClient, err := meet(t, serverConfig, clientConfig)
	if err != nil || ofServer != "etcd.a.renewed" || ofClient != "rotator.a.renewed" {
		t.Errorf("%s, %s, %v", ofServer, ofClient, err)
	}
}

func TestAPairHalfWrittenLeavesTheLastGoodOneInUseUntilItIsWhole(t *testing.T) {
	a := newAuthority(t)
	dir, other := t.TempDir(), t.TempDir()
	files := a.issue(t, dir, "etcd.a")
	server, client := open(t, files), open(t, a.issue(t, t.TempDir(), "rotator.a"))
	next := a.issue(t, other, "etcd.a.renewed")
	replace(t, next.Cert, files.Cert)
	renewed(server)
	if ofServer, _, err := meet(t, server.Server(), client.Client()); err != nil || ofServer != "etcd.a" {
		t.Errorf("with the new certificate and the old key: %s, %v", ofServer, err)
	}
	replace(t, next.Key, files.Key)
	renewed(server)
	if ofServer, _, err := meet(t, server.Server(), client.Client()); err != nil || ofServer != "etcd.a.renewed" {
		t.Errorf("with both: %s, %v", ofServer, err)
	}
}

func replace(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

func TestAStrangerIsRefusedByBothSides(t *testing.T) {
	a, stranger := newAuthority(t), newAuthority(t)
	server := open(t, a.issue(t, t.TempDir(), "etcd.a"))
	impostor := open(t, stranger.issue(t, t.TempDir(), "rotator.a"))
	if _, _, err := meet(t, server.Server(), impostor.Client()); err == nil {
		t.Error("the client trusts a server of another authority")
	}
	trusting := impostor.Client()
	trusting.RootCAs = server.roots
	if _, _, err := meet(t, server.Server(), trusting); err == nil {
		t.Error("the server trusts a client of another authority")
	}
}

func TestACertificateOfAnotherAddressIsRefused(t *testing.T) {
	a := newAuthority(t)
	server, client := open(t, a.issue(t, t.TempDir(), "etcd.a")), open(t, a.issue(t, t.TempDir(), "rotator.a"))
	config := client.Client()
	config.ServerName = "127.0.0.2"
	if _, _, err := meet(t, server.Server(), config); err == nil {
		t.Error("accepted")
	}
}

func TestFilesThatCannotServeAreNamed(t *testing.T) {
	a := newAuthority(t)
	files := a.issue(t, t.TempDir(), "etcd.a")
	for _, wrong := range []Files{
		{Cert: files.Cert},
		{Cert: "/nowhere.crt", Key: files.Key},
		{CA: "/nowhere-ca.crt"},
		{CA: files.Key},
	} {
		_, err := Open(wrong)
		if err == nil {
			t.Errorf("%+v is accepted", wrong)
			continue
		}
		if wrong.Key != "" && !strings.Contains(err.Error(), wrong.Cert) || wrong.CA != "" && !strings.Contains(err.Error(), wrong.CA) {
			t.Errorf("%v does not name the file", err)
		}
	}
}
