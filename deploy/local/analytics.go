package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ofitec/ofitec/deploy/local/bootstrap"
	"github.com/ofitec/ofitec/deploy/local/layout"
	"github.com/ofitec/ofitec/deploy/local/supervise"
)

// analyticsDSN is a DSN of the database of readers on a region's cluster, through the first of its proxies that is open.
func (s *Stack) analyticsDSN(r layout.Region, user *url.Userinfo, caFile string, ports ...int) string {
	hosts := make([]string, len(ports))
	for i, port := range ports {
		hosts[i] = s.layout.Addressing.Addr(r, port)
	}
	dsn := url.URL{
		Scheme: "postgres", User: user, Host: strings.Join(hosts, ","), Path: "/analytics",
		RawQuery: "sslmode=verify-full&connect_timeout=3&sslrootcert=" + url.QueryEscape(caFile),
	}
	return dsn.String()
}

// transformEnv: raw files come from where ingest keeps them; marts go to the region's own cluster through its database proxy, which is open only while the region may write.
// Memory is bounded for a machine that runs two of them.
func (s *Stack) transformEnv(r layout.Region) []string {
	dir, a := s.layout.IdentityDir(r, "etl-transform"), s.layout.Addressing
	return []string{
		"OFITEC_WAREHOUSE=" + s.layout.ComponentDir(r, "etl-transform"),
		"OFITEC_TOKEN_KEY_FILE=" + filepath.Join(dir, "token.key"),
		"OFITEC_RAW_KEY_FILE=" + filepath.Join(dir, "raw-key"),
		"OFITEC_RAW_URL=" + rawURL,
		"OFITEC_S3_ENDPOINT=https://" + fmt.Sprintf("%s:%d", a.Outside, layout.PortObjects),
		"OFITEC_S3_ACCESS_KEY_FILE=" + filepath.Join(dir, "s3-access-key"),
		"OFITEC_S3_SECRET_KEY_FILE=" + filepath.Join(dir, "s3-secret-key"),
		"OFITEC_ANALYTICS_DSN=" + s.analyticsDSN(r, url.User("analytics_publisher"), filepath.Join(dir, "ca.crt"), layout.PortDatabaseProxy),
		"OFITEC_ANALYTICS_PASSWORD_FILE=" + filepath.Join(dir, "postgres-password"),
		"OFITEC_DUCKDB_MEMORY_LIMIT=512MiB", "OFITEC_DUCKDB_THREADS=1",
	}
}

// readerFile is a file with what a reader connects with.
type readerFile struct {
	path, caFile string
	region       layout.Region
	owner        *supervise.Credential
}

// readerFiles are those of whoever operates the stack, <region>/analytics.dsn, and the console's copies, analytics-<region>.dsn in its identity folder.
func (s *Stack) readerFiles() []readerFile {
	var files []readerFile
	dir := s.layout.OutsideIdentityDir("console")
	for _, r := range layout.DataRegions {
		files = append(files,
			readerFile{s.layout.AnalyticsFile(r), filepath.Join(s.layout.OperatorIdentityDir(), "ca.crt"), r, nil},
			readerFile{filepath.Join(dir, "analytics-"+string(r)+".dsn"), filepath.Join(dir, "ca.crt"), r, s.owners.of("console")},
		)
	}
	return files
}

// writeReader brings a file to a login, with s.readers held: the one proxy is open while the region is the primary, the other while it is the standby.
func (s *Stack) writeReader(f readerFile, user, password string) error {
	dsn := []byte(s.analyticsDSN(f.region, url.UserPassword(user, password), f.caFile, layout.PortDatabaseProxy, layout.PortReadProxy) + "\n")
	if have, err := os.ReadFile(f.path); err == nil && bytes.Equal(have, dsn) {
		return nil
	}
	return writeFile(f.path, dsn, 0o600, f.owner)
}

// firstReader lets readers in by the first start's login, where there is no file yet, or no Vault that would change one.
func (s *Stack) firstReader() error {
	password, err := s.identities.Password("analytics_reader")
	if err != nil {
		return err
	}
	s.readers.Lock()
	defer s.readers.Unlock()
	for _, f := range s.readerFiles() {
		if _, err := os.Stat(filepath.Dir(f.path)); errors.Is(err, fs.ErrNotExist) {
			continue // a region that is lost
		}
		if _, err := os.Stat(f.path); err == nil && !s.options.WithoutVault {
			continue
		}
		if err := s.writeReader(f, "analytics_reader", password); err != nil {
			return err
		}
	}
	return nil
}

// readerLook is how often it is looked whether the rotator has made another reader: much more often than the one before is let in.
const readerLook = 5 * time.Second

// followReader keeps the files on the login that the rotator has made last, until ctx ends. Production has Vault Agent's template for it.
func (s *Stack) followReader(ctx context.Context) {
	reader, said := bootstrap.FollowReader(s.layout, s.tls), time.Now()
	for ctx.Err() == nil {
		limited, cancel := context.WithTimeout(ctx, readerLook)
		user, password, err := reader.Login(limited)
		cancel()
		if err == nil {
			err = s.writeReaders(user, password)
		}
		switch {
		case err == nil, errors.Is(err, bootstrap.ErrNothingYet):
			said = time.Now()
		case time.Since(said) > time.Minute:
			said = time.Now()
			s.terminal.say("the login of readers: not yet: %v", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(readerLook):
		}
	}
}

func (s *Stack) writeReaders(user, password string) error {
	s.readers.Lock()
	defer s.readers.Unlock()
	var problems []error
	for _, f := range s.readerFiles() {
		if err := s.writeReader(f, user, password); !errors.Is(err, fs.ErrNotExist) { // a region that is lost has no folder
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}
