// Package s3 reads the raw store in a bucket of any server that speaks the S3 API. It needs the rights s3:GetObject and s3:ListBucket, and to close a month s3:PutObject.
package s3

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
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

	"github.com/ofitec/ofitec/services/etl-transform/internal/raw"
)

// Access is how the server is reached.
type Access struct {
	Endpoint             string // URL, without a path
	Region               string
	CAFile               string // the system's authorities when empty
	AccessKey, SecretKey string
}

// Source is a prefix in a bucket. It is safe for concurrent use.
type Source struct {
	client         *minio.Client
	bucket, prefix string
}

var (
	_ raw.Source = (*Source)(nil)
	_ raw.Keeper = (*Source)(nil)

	_ raw.Remover = (*Source)(nil)
)

// answerWithin is how long the server may think before it answers.
const answerWithin = 30 * time.Second

// Open opens the prefix of a URL s3://bucket/prefix. It does not connect.
func Open(u *url.URL, a Access) (*Source, error) {
	endpoint, err := url.Parse(a.Endpoint)
	if err != nil || endpoint.Host == "" {
		return nil, fmt.Errorf("open raw store: endpoint %q is not a URL such as https://127.0.0.1:9000", a.Endpoint)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.ResponseHeaderTimeout, transport.DisableCompression = answerWithin, true
	if a.CAFile != "" {
		pem, err := os.ReadFile(a.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read the object store's authority: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("read the object store's authority: %s holds no certificate", a.CAFile)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	client, err := minio.New(endpoint.Host, &minio.Options{
		Creds: credentials.NewStaticV4(a.AccessKey, a.SecretKey, ""), Secure: endpoint.Scheme == "https", Region: a.Region, Transport: transport, BucketLookup: minio.BucketLookupAuto, MaxRetries: 3,
	})
	if err != nil {
		return nil, fmt.Errorf("open raw store: %w", err)
	}
	return &Source{client: client, bucket: u.Host, prefix: strings.Trim(u.Path, "/")}, nil
}

// URL is the source's root without a slash at its end.
func (s *Source) URL() string {
	return strings.TrimRight((&url.URL{Scheme: "s3", Host: s.bucket, Path: "/" + s.prefix}).String(), "/")
}

// Get implements raw.Source.
func (s *Source) Get(ctx context.Context, name string) (io.ReadCloser, error) {
	object, err := s.client.GetObject(ctx, s.bucket, path.Join(s.prefix, name), minio.GetObjectOptions{})
	if err != nil {
		return nil, err
	}
	if _, err := object.Stat(); err != nil { // asks the server
		_ = object.Close()
		if minio.ToErrorResponse(err).Code == "NoSuchKey" {
			return nil, fmt.Errorf("%w: %w", raw.ErrNotThere, err)
		}
		return nil, err
	}
	return object, nil
}

// Add implements raw.Keeper.
func (s *Source) Add(ctx context.Context, name string, content []byte) error {
	o := minio.PutObjectOptions{ContentType: "application/octet-stream"}
	o.SetMatchETagExcept("*")
	_, err := s.client.PutObject(ctx, s.bucket, path.Join(s.prefix, name), bytes.NewReader(content), int64(len(content)), o)
	if answer := minio.ToErrorResponse(err); err != nil && (answer.StatusCode == http.StatusPreconditionFailed || answer.Code == "PreconditionFailed") {
		return fmt.Errorf("%w: %s", raw.ErrTaken, name)
	}
	return err
}

// Remove implements raw.Remover: a bucket that keeps versions keeps none of this name.
func (s *Source) Remove(ctx context.Context, name string) error {
	key := path.Join(s.prefix, name)
	for object := range s.client.ListObjects(ctx, s.bucket, minio.ListObjectsOptions{Prefix: key, WithVersions: true}) {
		if object.Err != nil {
			return object.Err
		}
		if object.Key != key {
			continue
		}
		if err := s.client.RemoveObject(ctx, s.bucket, key, minio.RemoveObjectOptions{VersionID: object.VersionID}); err != nil {
			return err
		}
	}
	return nil
}
