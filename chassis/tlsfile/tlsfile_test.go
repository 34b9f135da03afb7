package tlsfile

import (
	"crypto/tls"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ofitec/ofitec/chassis/chassistest"
)

// issue makes an identity in a folder as Files.
func issue(t *testing.T, a *chassistest.Authority, dir, name string) Files {
	t.Helper()
	cert, key, ca := a.Issue(t, dir, name)
	return Files{Cert: cert, Key: key, CA: ca}
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
	a := chassistest.NewAuthority(t)
	server, client := open(t, issue(t, a, t.TempDir(), "etcd.a")), open(t, issue(t, a, t.TempDir(), "rotator.a"))
	ofServer, ofClient, err := meet(t, server.Server(), client.Client())
	if err != nil || ofServer != "etcd.a" || ofClient != "rotator.a" {
		t.Errorf("%s, %s, %v", ofServer, ofClient, err)
	}
}

func TestRenewedFilesAreUsedForTheNextConnectionOfBothSides(t *testing.T) {
	a := chassistest.NewAuthority(t)
	serverDir, clientDir := t.TempDir(), t.TempDir()
	server, client := open(t, issue(t, a, serverDir, "etcd.a")), open(t, issue(t, a, clientDir, "rotator.a"))
	serverConfig, clientConfig := server.Server(), client.Client()
	issue(t, a, serverDir, "etcd.a.renewed")
	issue(t, a, clientDir, "rotator.a.renewed")
	renewed(server)
	renewed(client)
	ofServer, ofClient, err := meet(t, serverConfig, clientConfig)
	if err != nil || ofServer != "etcd.a.renewed" || ofClient != "rotator.a.renewed" {
		t.Errorf("%s, %s, %v", ofServer, ofClient, err)
	}
}

func TestAPairHalfWrittenLeavesTheLastGoodOneInUseUntilItIsWhole(t *testing.T) {
	a := chassistest.NewAuthority(t)
	dir, other := t.TempDir(), t.TempDir()
	files := issue(t, a, dir, "etcd.a")
	server, client := open(t, files), open(t, issue(t, a, t.TempDir(), "rotator.a"))
	next := issue(t, a, other, "etcd.a.renewed")
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
	a, stranger := chassistest.NewAuthority(t), chassistest.NewAuthority(t)
	server := open(t, issue(t, a, t.TempDir(), "etcd.a"))
	impostor := open(t, issue(t, stranger, t.TempDir(), "rotator.a"))
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
	a := chassistest.NewAuthority(t)
	server, client := open(t, issue(t, a, t.TempDir(), "etcd.a")), open(t, issue(t, a, t.TempDir(), "rotator.a"))
	config := client.Client()
	config.ServerName = "127.0.0.2"
	if _, _, err := meet(t, server.Server(), config); err == nil {
		t.Error("accepted")
	}
}

func TestFilesThatCannotServeAreNamed(t *testing.T) {
	a := chassistest.NewAuthority(t)
	files := issue(t, a, t.TempDir(), "etcd.a")
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
