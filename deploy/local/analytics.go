package local

import (
	"fmt"
	"net/url"
	"path/filepath"

	"github.com/ofitec/ofitec/deploy/local/layout"
)

// analyticsDSN is a DSN of the database of readers on a region's cluster.
func (s *Stack) analyticsDSN(r layout.Region, port int, user *url.Userinfo, caFile string) string {
	dsn := url.URL{
		Scheme: "postgres", User: user, Host: s.layout.Addressing.Addr(r, port), Path: "/analytics",
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
		"OFITEC_RAW_URL=" + rawURL,
		"OFITEC_S3_ENDPOINT=https://" + fmt.Sprintf("%s:%d", a.Outside, layout.PortObjects),
		"OFITEC_S3_ACCESS_KEY_FILE=" + filepath.Join(dir, "s3-access-key"),
		"OFITEC_S3_SECRET_KEY_FILE=" + filepath.Join(dir, "s3-secret-key"),
		"OFITEC_ANALYTICS_DSN=" + s.analyticsDSN(r, layout.PortDatabaseProxy, url.User("analytics_publisher"), filepath.Join(dir, "ca.crt")),
		"OFITEC_ANALYTICS_PASSWORD_FILE=" + filepath.Join(dir, "postgres-password"),
		"OFITEC_DUCKDB_MEMORY_LIMIT=512MiB", "OFITEC_DUCKDB_THREADS=1",
	}
}

// writeReaderDSN makes <region>/analytics.dsn for whoever operates the stack. Readers come through the read-only proxy, which leads to the region's own server whichever role it has.
func (s *Stack) writeReaderDSN(r layout.Region) error {
	password, err := s.identities.Password("analytics_reader")
	if err != nil {
		return err
	}
	dsn := s.analyticsDSN(r, layout.PortReadProxy, url.UserPassword("analytics_reader", password), filepath.Join(s.layout.OperatorIdentityDir(), "ca.crt"))
	return writeFile(s.layout.AnalyticsFile(r), []byte(dsn+"\n"), 0o600, nil)
}

// writeConsoleDSNs makes the console's copies, analytics-<region>.dsn in its identity folder.
func (s *Stack) writeConsoleDSNs() error {
	password, err := s.identities.Password("analytics_reader")
	if err != nil {
		return err
	}
	dir := s.layout.OutsideIdentityDir("console")
	for _, r := range layout.DataRegions {
		dsn := s.analyticsDSN(r, layout.PortReadProxy, url.UserPassword("analytics_reader", password), filepath.Join(dir, "ca.crt"))
		if err := writeFile(filepath.Join(dir, "analytics-"+string(r)+".dsn"), []byte(dsn+"\n"), 0o600, s.owners.of("console")); err != nil {
			return err
		}
	}
	return nil
}
