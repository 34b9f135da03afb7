package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"path/filepath"
	"time"
)

const (
	authorityLife  = 10 * 365 * 24 * time.Hour
	authoritySpare = 2 * 365 * 24 * time.Hour // a leaf must never outlive its authority
	leafLife       = 365 * 24 * time.Hour
	leafSpare      = 60 * 24 * time.Hour
	backdate       = time.Hour // for clocks that differ
)

// authority is the local CA.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	pem  []byte
	now  time.Time
}

// openAuthority reads the CA of the operator's folder or makes it. The key is written first: one without a certificate signs itself anew,
// and what it signed before stays valid.
func openAuthority(dir string, now time.Time) (*authority, error) {
	keyFile, certFile := filepath.Join(dir, "ca.key"), filepath.Join(dir, "ca.crt")
	const wayOut = "restore it, or remove ca.key and ca.crt to get a new CA and new certificates"
	_, certFound, err := read(certFile)
	if err != nil {
		return nil, err
	}
	a := &authority{now: now}
	if a.key, err = openKey(keyFile, !certFound, Owner{-1, -1}, wayOut); err != nil {
		return nil, err
	}
	if certFound {
		if a.cert, a.pem, err = readCertificate(certFile, wayOut); err != nil {
			return nil, err
		}
		if !a.key.PublicKey.Equal(a.cert.PublicKey) || !a.cert.IsCA {
			return nil, damaged(certFile, "it does not belong to ca.key", wayOut)
		}
		if now.Add(authoritySpare).Before(a.cert.NotAfter) {
			return a, nil
		}
	}
	return a, a.signSelf(certFile)
}

func (a *authority) signSelf(certFile string) error {
	serial, err := newSerial()
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "ofitec local CA", Organization: []string{"OFITEC"}},
		NotBefore: a.now.Add(-backdate), NotAfter: a.now.Add(authorityLife),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, BasicConstraintsValid: true, IsCA: true, MaxPathLenZero: true,
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	if err != nil {
		return fmt.Errorf("sign CA: %w", err)
	}
	if a.cert, err = x509.ParseCertificate(raw); err != nil {
		return fmt.Errorf("parse CA: %w", err)
	}
	a.pem = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})
	return write(certFile, a.pem, 0o644, Owner{-1, -1})
}

// openKey reads a private key; a missing one is made only when that loses nothing.
func openKey(path string, mayMake bool, owner Owner, wayOut string) (*ecdsa.PrivateKey, error) {
	content, found, err := read(path)
	if err != nil {
		return nil, err
	}
	if !found {
		if !mayMake {
			return nil, damaged(path, "it is missing and its certificate is there", wayOut)
		}
		return makeKey(path, owner)
	}
	block, _ := pem.Decode(content)
	if block == nil {
		return nil, damaged(path, "it holds no PEM block", wayOut)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, damaged(path, err.Error(), wayOut)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return nil, damaged(path, "it is not an ECDSA key", wayOut)
	}
	return key, own(path, 0o600, owner)
}

func makeKey(path string, owner Owner) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode key: %w", err)
	}
	return key, write(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}), 0o600, owner)
}

func readCertificate(path, wayOut string) (*x509.Certificate, []byte, error) {
	content, found, err := read(path)
	if err != nil || !found {
		return nil, nil, err
	}
	block, _ := pem.Decode(content)
	if block == nil {
		return nil, nil, damaged(path, "it holds no PEM block", wayOut)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, nil, damaged(path, err.Error(), wayOut)
	}
	return cert, content, nil
}

func newSerial() (*big.Int, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("make serial number: %w", err)
	}
	return serial, nil
}
