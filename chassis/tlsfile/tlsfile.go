// Package tlsfile makes tls.Config values from files and follows the files when they change, so that certificates are renewed
// without a restart.
package tlsfile

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// checkEvery bounds how often the files are looked at; a renewed certificate is in use after at most this long.
const checkEvery = time.Second

// Files are the paths of a PEM certificate chain with its key, and of the PEM certificates of the authorities that are trusted.
type Files struct{ Cert, Key, CA string }

// Source holds the newest good content of the files. When the files change to something that cannot be read (a pair half written, say)
// the last good content stays in use and the reason is logged. It is safe for concurrent use.
type Source struct {
	files Files

	mu      sync.Mutex
	pair    *tls.Certificate
	roots   *x509.CertPool
	seen    [3]stamp
	checked time.Time
}

// stamp tells one content of a file from the next.
type stamp struct {
	modified time.Time
	size     int64
}

// Open reads the files once; an error names the file. Cert and Key may both be empty for a client without a certificate, CA for the system's authorities.
func Open(files Files) (*Source, error) {
	if (files.Cert == "") != (files.Key == "") {
		return nil, errors.New("load TLS identity: want both certificate and key, or neither")
	}
	s := &Source{files: files, seen: stampsOf(files), checked: time.Now()}
	var err error
	if s.pair, s.roots, err = load(files); err != nil {
		return nil, err
	}
	return s, nil
}

// Client is the configuration of a client that shows the certificate and trusts the authorities. The certificate follows the file; the
// authorities are those of now, since crypto/tls cannot exchange them safely under a client that dials addresses: to change
// authorities put old and new into the file, restart, and then remove the old one.
func (s *Source) Client() *tls.Config {
	_, roots := s.current()
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		RootCAs:    roots,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, _ := s.current()
			if pair == nil {
				return new(tls.Certificate), nil // no certificate, as crypto/tls asks for
			}
			return pair, nil
		},
	}
}

// Server is the configuration of a server that shows the certificate and, when a CA file is given, demands a client certificate of
// these authorities. Both follow the files.
func (s *Source) Server() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			pair, roots := s.current()
			if pair == nil {
				return nil, errors.New("serve TLS: no certificate file is configured")
			}
			config := &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{*pair}, NextProtos: []string{"h2", "http/1.1"}}
			if roots != nil {
				config.ClientCAs, config.ClientAuth = roots, tls.RequireAndVerifyClientCert
			}
			return config, nil
		},
	}
}

// current is the newest good content; it looks at the files again when the last look is long enough ago.
func (s *Source) current() (*tls.Certificate, *x509.CertPool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.checked) < checkEvery {
		return s.pair, s.roots
	}
	s.checked = time.Now()
	stamps := stampsOf(s.files)
	if stamps == s.seen {
		return s.pair, s.roots
	}
	pair, roots, err := load(s.files)
	if err != nil {
		// seen stays as it was, so that the next look tries again
		slog.Warn("changed TLS files cannot be used, the previous ones stay", "error", err)
		return s.pair, s.roots
	}
	s.pair, s.roots, s.seen = pair, roots, stamps
	return pair, roots
}

func stampsOf(files Files) [3]stamp {
	var stamps [3]stamp
	for i, path := range []string{files.Cert, files.Key, files.CA} {
		if info, err := os.Stat(path); err == nil {
			stamps[i] = stamp{info.ModTime(), info.Size()}
		}
	}
	return stamps
}

func load(files Files) (*tls.Certificate, *x509.CertPool, error) {
	var pair *tls.Certificate
	if files.Cert != "" {
		loaded, err := tls.LoadX509KeyPair(files.Cert, files.Key)
		if err != nil {
			return nil, nil, fmt.Errorf("load TLS certificate %s with key %s: %w", files.Cert, files.Key, err)
		}
		pair = &loaded
	}
	if files.CA == "" {
		return pair, nil, nil
	}
	pem, err := os.ReadFile(files.CA)
	if err != nil {
		return nil, nil, fmt.Errorf("load TLS authorities: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, nil, fmt.Errorf("load TLS authorities %s: no PEM certificate in it", files.CA)
	}
	return pair, roots, nil
}
