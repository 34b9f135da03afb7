// Package s3 keeps raw files and manifest in a bucket of any server that speaks the S3 API. It adds and reads, and needs no right to delete: s3:GetObject, s3:PutObject,
// s3:ListBucket, s3:AbortMultipartUpload. The server must know conditional writes (If-None-Match), as MinIO and AWS do.
package s3

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/ofitec/ofitec/services/etl-ingest/internal/manifest"
)

// partSize bounds what one upload holds in memory.
const partSize = 8 << 20

// Access is how the server is reached.
type Access struct {
	Endpoint             string // URL, without a path
	Region               string
	CAFile               string // the system's authorities when empty
	AccessKey, SecretKey string
	Spool                string // folder for what is not yet uploaded
}

// Store is a prefix in a bucket. It is safe for concurrent use.
type Store struct {
	client         *minio.Client
	bucket, prefix string
	spool          string
}

var _ manifest.Shelf = (*Store)(nil)

// Open opens the prefix of a URL s3://bucket/prefix. It does not connect.
func Open(u *url.URL, a Access) (*Store, error) {
	endpoint, err := url.Parse(a.Endpoint)
	if err != nil || endpoint.Host == "" {
		return nil, fmt.Errorf("open raw store: endpoint %q is not a URL such as https://127.0.0.1:9000", a.Endpoint)
	}
	transport, err := transport(a.CAFile)
	if err != nil {
		return nil, err
	}
	client, err := minio.New(endpoint.Host, &minio.Options{
		Creds: credentials.NewStaticV4(a.AccessKey, a.SecretKey, ""), Secure: endpoint.Scheme == "https", Region: a.Region, Transport: transport, BucketLookup: minio.BucketLookupAuto,
		MaxRetries: 3,
	})
	if err != nil {
		return nil, fmt.Errorf("open raw store: %w", err)
	}
	return &Store{client: client, bucket: u.Host, prefix: strings.Trim(u.Path, "/"), spool: a.Spool}, nil
}

func transport(caFile string) (*http.Transport, error) {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.ResponseHeaderTimeout, t.DisableCompression = 30*time.Second, true
	if caFile == "" {
		return t, nil
	}
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("read the object store's authority: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("read the object store's authority: %s holds no certificate", caFile)
	}
	t.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	return t, nil
}

// URL is the store's root without a slash at its end.
func (s *Store) URL() string {
	return strings.TrimRight((&url.URL{Scheme: "s3", Host: s.bucket, Path: "/" + s.prefix}).String(), "/")
}

// SpoolDir is where pages wait for their upload.
func (s *Store) SpoolDir() string { return s.spool }

func (s *Store) key(name string) string { return path.Join(s.prefix, name) }

// ifNew writes only where nothing stands.
func ifNew() minio.PutObjectOptions {
	o := minio.PutObjectOptions{ContentType: "application/octet-stream", PartSize: partSize, NumThreads: 1}
	o.SetMatchETagExcept("*")
	return o
}

// taken says that a conditional write found something.
func taken(err error) bool {
	answer := minio.ToErrorResponse(err)
	return answer.StatusCode == http.StatusPreconditionFailed || answer.Code == "PreconditionFailed"
}

// Put uploads a finished file. The content of a name never changes, so a name that is taken is what was wanted.
func (s *Store) Put(ctx context.Context, name, from string) error {
	if _, err := s.client.FPutObject(ctx, s.bucket, s.key(name), from, ifNew()); err != nil && !taken(err) {
		return fmt.Errorf("store raw file %s: %w", name, err)
	}
	return nil
}

// Add implements manifest.Shelf. An answer that was lost may leave open whether the file was added: then what stands there is looked at.
func (s *Store) Add(ctx context.Context, name string, content []byte) error {
	_, err := s.client.PutObject(ctx, s.bucket, s.key(name), bytes.NewReader(content), int64(len(content)), ifNew())
	if err == nil {
		return nil
	}
	if !taken(err) {
		return fmt.Errorf("add %s: %w", name, err)
	}
	have, found, err := s.Read(ctx, name)
	if err != nil {
		return err
	}
	if found && bytes.Equal(have, content) {
		return nil // a retry of our own write: no other writer makes the same line
	}
	return fmt.Errorf("%s: %w", name, manifest.ErrExists)
}

// Read implements manifest.Shelf.
func (s *Store) Read(ctx context.Context, name string) ([]byte, bool, error) {
	object, err := s.Get(ctx, name)
	if err != nil {
		return nil, false, err
	}
	defer func() { _ = object.Close() }() // only read
	content, err := io.ReadAll(object)
	if minio.ToErrorResponse(err).Code == "NoSuchKey" {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("read %s: %w", name, err)
	}
	return content, true, nil
}

// Get opens a raw file; the first read says whether it is there.
func (s *Store) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	return s.client.GetObject(ctx, s.bucket, s.key(name), minio.GetObjectOptions{})
}

// Check says whether the bucket is there and may be read.
func (s *Store) Check(ctx context.Context) error {
	found, err := s.client.BucketExists(ctx, s.bucket)
	if err == nil && !found {
		err = errors.New("there is no such bucket")
	}
	if err != nil {
		return fmt.Errorf("try bucket %s: %w", s.bucket, err)
	}
	return nil
}
