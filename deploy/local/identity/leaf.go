package identity

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"net"
	"slices"
)

// leaf is a certificate that somebody shows as a server and as a client.
type leaf struct {
	certFile, keyFile string
	owner             Owner
	name              string // common name; empty for etcd's servers, which would take one for a user
	hosts             []string
	addresses         []string
}

// ensure keeps a certificate that is good for a while, and signs a new one for the same key when it ends soon, names the wrong hosts
// or comes from a CA that was replaced.
func (a *authority) ensure(l leaf) error {
	const wayOut = "remove certificate and key, they are made anew at the next start"
	cert, _, err := readCertificate(l.certFile, wayOut)
	if err != nil {
		return err
	}
	key, err := openKey(l.keyFile, cert == nil, l.owner, wayOut)
	if err != nil {
		return err
	}
	if cert != nil && !key.PublicKey.Equal(cert.PublicKey) {
		return damaged(l.certFile, "it does not belong to "+l.keyFile, wayOut)
	}
	if cert != nil && a.good(cert, l) {
		return own(l.certFile, 0o600, l.owner)
	}
	return a.sign(l, key)
}

func (a *authority) good(cert *x509.Certificate, l leaf) bool {
	var addresses []string
	for _, address := range cert.IPAddresses {
		addresses = append(addresses, address.String())
	}
	return cert.CheckSignatureFrom(a.cert) == nil && a.now.Add(leafSpare).Before(cert.NotAfter) && !a.now.Before(cert.NotBefore) &&
		cert.Subject.CommonName == l.name && slices.Equal(cert.DNSNames, l.hosts) && slices.Equal(addresses, l.addresses)
}

func (a *authority) sign(l leaf, key *ecdsa.PrivateKey) error {
	serial, err := newSerial()
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: l.name, Organization: []string{"OFITEC"}},
		NotBefore: a.now.Add(-backdate), NotAfter: a.now.Add(leafLife), DNSNames: l.hosts,
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, BasicConstraintsValid: true,
	}
	for _, address := range l.addresses {
		template.IPAddresses = append(template.IPAddresses, net.ParseIP(address))
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		return fmt.Errorf("sign certificate %s: %w", l.certFile, err)
	}
	return write(l.certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}), 0o600, l.owner)
}
