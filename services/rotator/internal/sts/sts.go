// Package sts asks a cloud, or whatever speaks its API, for a session of an hour, and tries it.
package sts

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/ofitec/ofitec/chassis/config"
)

// Service is who gives sessions.
type Service struct {
	Endpoint string
	Region   string // us-east-1 when empty
	Role     string // ARN; MinIO takes none
	CAFile   string // a further authority beside the system's; may be empty
}

// Keys are a pair.
type Keys struct {
	Access string
	Secret config.Secret
}

// Session is a pair that ends, with its token.
type Session struct {
	Keys
	Token   config.Secret
	Expires time.Time
}

const defaultRegion = "us-east-1"

// AssumeRole asks for a session of that life.
func (s Service) AssumeRole(ctx context.Context, by Keys, name string, life time.Duration) (Session, error) {
	client, err := s.http()
	if err != nil {
		return Session{}, err
	}
	defer client.CloseIdleConnections()
	api := sts.New(sts.Options{
		Region: s.region(), BaseEndpoint: aws.String(s.Endpoint), HTTPClient: client, RetryMaxAttempts: 1, // the rotator has its own table
		Credentials: credentials.NewStaticCredentialsProvider(by.Access, by.Secret.Reveal(), ""),
	})
	role := s.Role
	if role == "" {
		role = "arn:aws:iam::000000000000:role/none" // the SDK wants one; MinIO does not look at it
	}
	answer, err := api.AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: aws.String(role), RoleSessionName: aws.String(name), DurationSeconds: aws.Int32(int32(life / time.Second))})
	if err != nil {
		return Session{}, fmt.Errorf("ask for a session: %w", err)
	}
	c := answer.Credentials
	if c == nil || aws.ToString(c.AccessKeyId) == "" || aws.ToString(c.SecretAccessKey) == "" || aws.ToString(c.SessionToken) == "" || c.Expiration == nil {
		return Session{}, errors.New("ask for a session: the answer lacks keys, token or end")
	}
	return Session{Keys{*c.AccessKeyId, config.Secret(*c.SecretAccessKey)}, config.Secret(*c.SessionToken), *c.Expiration}, nil
}

// Try lists a bucket with a session. A problem is a refusal; an error is the way there.
func (s Service) Try(ctx context.Context, session Session, bucket string) (problem string, err error) {
	client, err := s.http()
	if err != nil {
		return "", err
	}
	defer client.CloseIdleConnections()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, bucket+"?list-type=2&max-keys=1", nil)
	if err != nil {
		return "", fmt.Errorf("try the session: %w", err)
	}
	empty := sha256.Sum256(nil)
	digest := hex.EncodeToString(empty[:])
	request.Header.Set("X-Amz-Content-Sha256", digest)
	keys := aws.Credentials{AccessKeyID: session.Access, SecretAccessKey: session.Secret.Reveal(), SessionToken: session.Token.Reveal()}
	if err := v4.NewSigner().SignHTTP(ctx, keys, request, digest, "s3", s.region(), time.Now()); err != nil {
		return "", fmt.Errorf("try the session: %w", err)
	}
	answer, err := client.Do(request)
	if err != nil {
		return "", fmt.Errorf("try the session: %w", err)
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, 64<<10)) // the status is the answer
	switch {
	case answer.StatusCode == http.StatusOK:
		return "", nil
	case answer.StatusCode >= 500:
		return "", fmt.Errorf("try the session: %s", answer.Status)
	}
	return fmt.Sprintf("the new session cannot list %s: %s", bucket, answer.Status), nil
}

func (s Service) region() string {
	if s.Region == "" {
		return defaultRegion
	}
	return s.Region
}

func (s Service) http() (*http.Client, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if s.CAFile != "" {
		authorities, err := x509.SystemCertPool()
		if err != nil {
			authorities = x509.NewCertPool()
		}
		content, err := os.ReadFile(s.CAFile)
		if err != nil {
			return nil, fmt.Errorf("read authority: %w", err)
		}
		authorities.AppendCertsFromPEM(content)
		transport.TLSClientConfig = &tls.Config{RootCAs: authorities, MinVersion: tls.VersionTLS12}
	}
	return &http.Client{Transport: transport, Timeout: 10 * time.Second}, nil
}
