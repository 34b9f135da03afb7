// Package settings reads the stand-in's environment file, its only configuration. The deployer renders that file, so a
// line that is not the stand-in's own is nobody's mistake; a line of its own that is wrong is told with what would be right.
package settings

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"
)

// Settings is everything the stand-in knows about the world. Load fills it.
type Settings struct {
	Colour string // blue or green
	Region string
	Addr   string // host:port to listen on

	Postgres Postgres

	// ExportToken is what /of/export/* asks for as a bearer token; empty for none.
	ExportToken string
	// MasterPassword opens /web/database/*; without one it is closed.
	MasterPassword Password

	// AnnounceURLs are where changed invoices are announced, the nearest first; none for no announcements. WebhookSecretFile has what they are signed with: it
	// may come later, and is read again for each announcement.
	AnnounceURLs      []string
	WebhookSecretFile string
	// AnnounceEvery is the least time between two announcements.
	AnnounceEvery time.Duration

	// Seed and Scale decide the first rows; SeedDate is the day they end, empty for the day of the first start.
	Seed     uint64
	Scale    int
	SeedDate string

	// Writer says whether this colour takes part in changing rows.
	Writer bool
	// WriterInterval is the time between two short transactions of the writer.
	WriterInterval time.Duration
	// LongTransaction is how long a long transaction stays open, LongTransactionEvery how often one begins. Several are open
	// at once when the first is larger than the second.
	LongTransaction, LongTransactionEvery time.Duration

	// PollInterval is the time between two looks at each side of the database; ConnectTimeout and QueryTimeout bound a login
	// and a request's statements.
	PollInterval, ConnectTimeout, QueryTimeout time.Duration
	// SelfTraffic is the time between two requests of the stand-in to itself; 0 for none.
	SelfTraffic time.Duration

	LogLevel slog.Level
	// Unknown are lines that begin with ODOO_ or POSTGRES_ and mean nothing here: worth a warning.
	Unknown []string
}

// Postgres is how to reach the database. Port leads to the side that takes writes, ReadPort to the one that does not.
type Postgres struct {
	Host           string
	Port, ReadPort int
	User, Database string
	Password       Password
	SSLMode        string
	SSLRootCert    string
}

// Password is text that no log shows.
type Password string

// String hides the password; Reveal gives it.
func (Password) String() string { return "(secret)" }

// GoString hides the password from %#v.
func (Password) GoString() string { return "(secret)" }

// LogValue hides the password from slog.
func (Password) LogValue() slog.Value { return slog.StringValue("(secret)") }

// Reveal gives the password to the one who logs in.
func (p Password) Reveal() string { return string(p) }

// Defaults of the local stack.
const (
	defaultPort                 = 5432
	defaultReadPort             = 5434
	defaultScale                = 1
	defaultSeed                 = 12
	defaultWriterInterval       = 2 * time.Second
	defaultLongTransaction      = 2 * time.Minute
	defaultLongTransactionEvery = 3 * time.Minute
	defaultPollInterval         = 250 * time.Millisecond
	defaultConnectTimeout       = 2 * time.Second
	defaultQueryTimeout         = 15 * time.Second
	defaultSelfTraffic          = 500 * time.Millisecond
	defaultAnnounceEvery        = 20 * time.Second
	maxScale                    = 1000
)

// Load reads the file. A problem of the file's content gives *Invalid with all of them; the file itself missing is an
// ordinary error.
func Load(file string) (Settings, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return Settings{}, fmt.Errorf("read environment file: %w", err)
	}
	lines, problems := parse(string(text))
	f := &fields{lines: lines, problems: problems}
	s := Settings{
		Colour: f.oneOf("ODOO_COLOUR", "", "blue", "green"),
		Region: f.required("ODOO_REGION"),
		Addr:   f.address("ODOO_ADDR"),
		Postgres: Postgres{
			Host:        f.required("POSTGRES_HOST"),
			Port:        f.port("POSTGRES_PORT", defaultPort),
			ReadPort:    f.port("POSTGRES_READ_PORT", defaultReadPort),
			User:        f.required("POSTGRES_USER"),
			Database:    f.required("POSTGRES_DB"),
			Password:    Password(f.required("POSTGRES_PASSWORD")),
			SSLMode:     f.oneOf("POSTGRES_SSLMODE", "verify-full", "verify-full", "disable"),
			SSLRootCert: f.text("POSTGRES_SSLROOTCERT", ""),
		},
		Seed:                 f.unsigned("ODOO_SEED", defaultSeed),
		Scale:                f.integer("ODOO_SCALE", defaultScale, 1, maxScale),
		SeedDate:             f.date("ODOO_SEED_DATE"),
		Writer:               f.oneOf("ODOO_WRITER", "on", "on", "off") == "on",
		WriterInterval:       f.duration("ODOO_WRITER_INTERVAL", defaultWriterInterval, time.Millisecond),
		LongTransaction:      f.duration("ODOO_LONG_TRANSACTION", defaultLongTransaction, 0),
		LongTransactionEvery: f.duration("ODOO_LONG_TRANSACTION_EVERY", defaultLongTransactionEvery, time.Millisecond),
		PollInterval:         f.duration("ODOO_DATABASE_POLL", defaultPollInterval, 10*time.Millisecond),
		ConnectTimeout:       f.duration("ODOO_DATABASE_CONNECT_TIMEOUT", defaultConnectTimeout, 10*time.Millisecond),
		QueryTimeout:         f.duration("ODOO_DATABASE_QUERY_TIMEOUT", defaultQueryTimeout, 10*time.Millisecond),
		SelfTraffic:          f.duration("ODOO_SELF_TRAFFIC", defaultSelfTraffic, 0),
		LogLevel:             f.level("ODOO_LOG_LEVEL"),
		MasterPassword:       Password(f.text("ODOO_MASTER_PASSWORD", "")),
		AnnounceURLs:         f.urls("ODOO_ANNOUNCE_URLS"),
		WebhookSecretFile:    f.text("ODOO_WEBHOOK_SECRET_FILE", ""),
		AnnounceEvery:        f.duration("ODOO_ANNOUNCE_EVERY", defaultAnnounceEvery, time.Second),
	}
	if s.AnnounceURLs != nil && s.WebhookSecretFile == "" {
		f.problem("ODOO_WEBHOOK_SECRET_FILE", "", "is missing; it names the file with what announcements at ODOO_ANNOUNCE_URLS are signed with")
	}
	if s.Postgres.SSLMode == "verify-full" && s.Postgres.SSLRootCert == "" {
		f.problem("POSTGRES_SSLROOTCERT", "", "is missing; it names the CA's certificate (or set POSTGRES_SSLMODE=disable in a test)")
	}
	s.ExportToken = f.secretFile("ODOO_EXPORT_TOKEN_FILE")
	s.Unknown = f.unknown()
	if len(f.problems) > 0 {
		return Settings{}, &Invalid{File: file, Problems: f.problems}
	}
	return s, nil
}

// Invalid is wrong use: the environment file has these problems.
type Invalid struct {
	File     string
	Problems []error
}

func (e *Invalid) Error() string {
	lines := strings.Split(errors.Join(e.Problems...).Error(), "\n")
	for i := range lines {
		lines[i] = e.File + ": " + lines[i]
	}
	return strings.Join(lines, "\n")
}
