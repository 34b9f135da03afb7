package deploy

// ArchiveStanza is the name under which both regions keep WAL and backups: they are one database.
const ArchiveStanza = "ofitec"

// PgBackRest is the program of Debian's package pgbackrest.
const PgBackRest = "/usr/bin/pgbackrest"

// Archive is pgBackRest's configuration in one data region: where WAL and backups go, outside all regions. Both regions have the same repository and the
// same passphrase, and each a user of its own.
type Archive struct {
	Stanza     string // ArchiveStanza when empty
	Endpoint   string // host:port of the object store
	Bucket     string
	Region     string // "us-east-1" when empty
	CAFile     string
	Key        string
	Secret     string
	Passphrase string // without it nobody restores anything
	DataDir    string
	SocketDir  string
	Port       int
	LockDir    string
	KeepFull   int    // full backups that are kept, with the WAL from the oldest on; 7 when zero
	QueueMax   string // WAL that is kept while the object store is away; "4GB" when empty
}

// Render returns pgbackrest.conf, which holds secrets.
func (a Archive) Render() ([]byte, error) {
	set := func(field *string, value string) {
		if *field == "" {
			*field = value
		}
	}
	set(&a.Stanza, ArchiveStanza)
	set(&a.Region, "us-east-1")
	set(&a.QueueMax, "4GB")
	if a.KeepFull == 0 {
		a.KeepFull = 7
	}
	if err := a.check(); err != nil {
		return nil, err
	}
	return render("pgbackrest/pgbackrest.conf.tmpl", a)
}

func (a Archive) check() error {
	p := problems{of: "archive"}
	p.name("Stanza", a.Stanza)
	p.hostPort("Endpoint", a.Endpoint)
	p.name("Bucket", a.Bucket)
	p.name("Region", a.Region)
	p.path("CAFile", a.CAFile)
	p.secret("Key", a.Key)
	p.secret("Secret", a.Secret)
	p.secret("Passphrase", a.Passphrase)
	p.path("DataDir", a.DataDir)
	p.path("SocketDir", a.SocketDir)
	p.port("Port", a.Port)
	p.path("LockDir", a.LockDir)
	p.size("QueueMax", a.QueueMax)
	if a.KeepFull < 1 {
		p.add("KeepFull", "%d is less than 1", a.KeepFull)
	}
	return p.err()
}

// secret is as name, and never shows the value.
func (p *problems) secret(field, value string) {
	if !plainName.MatchString(value) && (value == "" || value[0] != '-' || !plainName.MatchString(value[1:])) {
		p.add(field, "is empty or has other signs than letters, digits, dot, dash and underscore")
	}
}
