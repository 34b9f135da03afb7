package local

import (
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/ofitec/ofitec/deploy/local/layout"
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

// readerDSN is what a reader connects with: the one proxy is open while the region is the primary, the other while it is the standby.
func (s *Stack) readerDSN(r layout.Region, caFile string) ([]byte, error) {
	password, err := s.identities.Password("analytics_reader")
	if err != nil {
		return nil, err
	}
	dsn := s.analyticsDSN(r, url.UserPassword("analytics_reader", password), caFile, layout.PortDatabaseProxy, layout.PortReadProxy)
	return []byte(dsn + "\n"), nil
}

// writeReaderDSN makes <region>/analytics.dsn for whoever operates the stack.
func (s *Stack) writeReaderDSN(r layout.Region) error {
	dsn, err := s.readerDSN(r, filepath.Join(s.layout.OperatorIdentityDir(), "ca.crt"))
	if err != nil {
		return err
	}
	return writeFile(s.layout.AnalyticsFile(r), dsn, 0o600, nil)
}

// writeConsoleDSNs makes the console's copies, analytics-<region>.dsn in its identity folder.
func (s *Stack) writeConsoleDSNs() error {
	dir := s.layout.OutsideIdentityDir("console")
	for _, r := range layout.DataRegions {
		dsn, err := s.readerDSN(r, filepath.Join(dir, "ca.crt"))
		if err != nil {
			return err
		}
		if err := writeFile(filepath.Join(dir, "analytics-"+string(r)+".dsn"), dsn, 0o600, s.owners.of("console")); err != nil {
			return err
		}
	}
	return nil
}
