package main

import (
	"path/filepath"
	"time"

	"github.com/ofitec/ofitec/chassis/config"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/archive"
)

// Archive is where the WAL goes while this region holds the mandate. Without a configuration of pgBackRest nothing is archived.
type Archive struct {
	File    string        `env:"OFITEC_ARCHIVE_FILE" yaml:"file" doc:"pgBackRest's configuration, mode 0600, the same repository in both regions; nothing is archived when empty"`
	Program string        `env:"OFITEC_ARCHIVE_PROGRAM" yaml:"program" doc:"pgBackRest"`
	Stanza  string        `env:"OFITEC_ARCHIVE_STANZA" yaml:"stanza" doc:"name of the database in the repository, the same in both regions"`
	Every   time.Duration `env:"OFITEC_BACKUP_EVERY" yaml:"every" doc:"least time between two base backups"`
	After   time.Duration `env:"OFITEC_BACKUP_AFTER" yaml:"after" doc:"how long the mandate must be held before one is made"`
}

func newArchive() Archive {
	return Archive{Program: "/usr/bin/pgbackrest", Stanza: "ofitec", Every: 24 * time.Hour, After: time.Minute}
}

// in is the way to the repository of a region that is configured so.
func (a Archive) in(c *Config) archive.Archive {
	return archive.Archive{Program: a.Program, File: a.File, Stanza: a.Stanza, ConfDir: c.PostgresConfDir, DataDir: c.PostgresDataDir}
}

// problems are those of archiving.
func (a Archive) problems(holdsData bool) []error {
	if a.File == "" {
		return nil
	}
	var problems []error
	check := func(ok bool, variable, value, want string) {
		if !ok {
			problems = append(problems, &config.Problem{Variable: variable, Value: value, Want: want})
		}
	}
	check(holdsData, "OFITEC_ARCHIVE_FILE", a.File, "nothing in a region without data")
	check(filepath.IsAbs(a.File), "OFITEC_ARCHIVE_FILE", a.File, "an absolute path")
	check(filepath.IsAbs(a.Program), "OFITEC_ARCHIVE_PROGRAM", a.Program, "an absolute path")
	check(a.Stanza != "", "OFITEC_ARCHIVE_STANZA", a.Stanza, "a name, such as ofitec")
	check(a.Every >= time.Hour, "OFITEC_BACKUP_EVERY", a.Every.String(), "at least 1h")
	check(a.After >= 0 && a.After <= time.Hour, "OFITEC_BACKUP_AFTER", a.After.String(), "0s to 1h")
	return problems
}
