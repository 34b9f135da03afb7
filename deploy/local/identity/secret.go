package identity

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"path/filepath"

	"github.com/ofitec/ofitec/deploy"
	"github.com/ofitec/ofitec/deploy/local/layout"
)

// copyOf says where one copy of a secret goes.
type copyOf struct {
	dir, file string
	owner     Owner
}

// kept is one secret: the master in the operator's folder and the copies for who uses it.
type kept struct {
	name   string
	fresh  func() ([]byte, error)
	check  func([]byte) bool
	copies []copyOf
}

// word makes a password of random bytes in base64url. It never begins with a dash, which programs take for an option.
func word(size int) func() ([]byte, error) {
	return func() ([]byte, error) {
		for {
			raw, err := randomBytes(size)
			if err != nil {
				return nil, err
			}
			if text := base64.RawURLEncoding.EncodeToString(raw); text[0] != '-' {
				return []byte(text), nil
			}
		}
	}
}

func randomBytes(size int) ([]byte, error) {
	raw := make([]byte, size)
	if _, err := rand.Read(raw); err != nil {
		return nil, fmt.Errorf("make secret: %w", err)
	}
	return raw, nil
}

func isWord(content []byte) bool {
	raw, err := base64.RawURLEncoding.DecodeString(string(content))
	return err == nil && len(raw) >= 30 && content[0] != '-'
}

func fixed(text string) kept {
	return kept{
		fresh: func() ([]byte, error) { return []byte(text), nil },
		check: func(content []byte) bool { return string(content) == text },
	}
}

// ensure gives the secret. A missing master is taken from the copies, when they agree: what it once protected is still under it.
func (k kept) ensure(dir string) ([]byte, error) {
	master := filepath.Join(dir, k.name)
	content, found, err := read(master)
	if err != nil {
		return nil, err
	}
	if !found {
		if content, err = k.recovered(); err != nil {
			return nil, err
		}
		if content == nil {
			if content, err = k.fresh(); err != nil {
				return nil, err
			}
		}
	}
	if !k.check(content) {
		return nil, damaged(master, "it is not the secret that it should be", "restore it from a copy in an identity folder, or remove it with all its copies for a new one")
	}
	if !found {
		if err := write(master, content, 0o600, Owner{-1, -1}); err != nil {
			return nil, err
		}
	}
	for _, c := range k.copies {
		if done, err := k.succeeded(dir, c); err != nil {
			return nil, err
		} else if done {
			continue
		}
		if err := same(filepath.Join(c.dir, c.file), content, 0o600, c.owner, master); err != nil {
			return nil, err
		}
	}
	return content, own(master, 0o600, Owner{-1, -1})
}

func (k kept) recovered() ([]byte, error) {
	var content []byte
	var from string
	for _, c := range k.copies {
		path := filepath.Join(c.dir, c.file)
		found, ok, err := read(path)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		if content != nil && !bytes.Equal(content, found) {
			return nil, damaged(path, "it differs from "+from, "remove the one of the two that is wrong and start again")
		}
		content, from = found, path
	}
	return content, nil
}

// secrets lists all secrets of a layout by the name of the master.
func secrets(l layout.Layout, owners Owners) []kept {
	in := func(component, file string, regions ...layout.Region) []copyOf {
		var copies []copyOf
		for _, r := range regions {
			copies = append(copies, copyOf{l.IdentityDir(r, component), file, owners.of(component)})
		}
		return copies
	}
	atOperator := func(file string) []copyOf { return []copyOf{{l.OperatorDir(), file, Owner{-1, -1}}} }
	minio := func(file string) []copyOf {
		return []copyOf{{l.OutsideIdentityDir("minio"), file, owners.of("minio")}}
	}
	data, all := layout.DataRegions, layout.Regions
	ofRole := func(role string, copies []copyOf) kept {
		return kept{name: roleSecret(role), fresh: word(32), check: isWord, copies: copies}
	}
	rootUser := fixed("ofitec-root")
	rootUser.name, rootUser.copies = "minio-root-user", minio("root-user")
	list := []kept{
		{name: "nats-route", fresh: word(32), check: isWord},
		ofRole("ofitec_replication", in("postgres", "replication-password", data...)),
		ofRole("ofitec_rewind", in("failover-arbiter", "rewind-password", data...)),
		ofRole("ofitec_probe", in("health-probe", "postgres-password", all...)),
		ofRole("ofitec_exporter", in("postgres-exporter", "postgres-password", data...)),
		ofRole("vault_admin", atOperator("vault-admin-password")),
		ofRole("odoo_bootstrap", in("odoo", "postgres-password", data...)),
		ofRole("analytics_publisher", in("etl-transform", "postgres-password", data...)),
		ofRole("analytics_reader", atOperator("analytics-reader-password")),
		{name: "token-key", fresh: func() ([]byte, error) { return randomBytes(32) }, check: func(b []byte) bool { return len(b) == 32 }, copies: in("etl-transform", "token.key", data...)},
		{name: "raw-key", fresh: freshRawKey, check: isRawKey, copies: append(in("etl-ingest", "raw-key", data...), in("etl-transform", "raw-key", data...)...)},
		{name: "export-token", fresh: word(32), check: isWord, copies: append(in("odoo", "export-token", data...), in("etl-ingest", "export-token", data...)...)},
		rootUser,
		{name: "minio-root-password", fresh: word(30), check: isWord, copies: minio("root-password")},
	}
	list = append(list, kept{name: ArchivePassphrase, fresh: word(32), check: isWord}, kept{name: BackupSecret, fresh: word(30), check: isWord})
	for _, r := range data {
		list = append(list, kept{name: ArchiveSecret(r), fresh: word(30), check: isWord})
		user := fixed(ObjectUser(r))
		user.name, user.copies = "s3-access-key-"+string(r), append(in("etl-ingest", "s3-access-key", r), in("etl-transform", "s3-access-key", r)...)
		list = append(list, user, kept{
			name: objectSecret(r), fresh: word(30), check: isWord, // S3 takes 40 characters at most
			copies: append(in("etl-ingest", "s3-secret-key", r), in("etl-transform", "s3-secret-key", r)...),
		})
	}
	return list
}

// ObjectUser is a data region's access key at the object store.
func ObjectUser(r layout.Region) string { return "ofitec-" + string(r) }

// ArchiveUser is a data region's access key for WAL and backups; ArchiveSecret names the master of its secret, and ArchivePassphrase that of what both regions
// encrypt them with. They stand in the database's own pgbackrest.conf.
func ArchiveUser(r layout.Region) string { return "ofitec-archive-" + string(r) }

// ArchiveSecret is the master's name.
func ArchiveSecret(r layout.Region) string { return "archive-secret-key-" + string(r) }

// ArchivePassphrase is the master's name.
const ArchivePassphrase = "archive-passphrase"

// BackupUser is the access key that may ask the object store for restic's sessions; BackupSecret names the master of its secret, which stands in Vault beside.
const (
	BackupUser   = "ofitec-backup"
	BackupSecret = "backup-secret-key"
)

func objectSecret(r layout.Region) string { return "s3-secret-key-" + string(r) }

func roleSecret(role string) string { return "postgres-" + role }

// ensureDNSKeys makes the TSIG keys and the files in which BIND and its clients read them.
func ensureDNSKeys(l layout.Layout, owners Owners, dir string) error {
	keys := map[string]deploy.BINDKey{}
	for _, name := range []string{"ofitec-update", "ofitec-control"} {
		secret, err := kept{name: "tsig-" + name, fresh: dnsSecret, check: isDNSSecret}.ensure(dir)
		if err != nil {
			return err
		}
		keys[name] = deploy.BINDKey{Name: name, Secret: string(secret)}
	}
	update, control := keys["ofitec-update"], keys["ofitec-control"]
	put := func(path string, owner Owner, keys ...deploy.BINDKey) error {
		content, err := deploy.RenderBINDKeys(keys...)
		if err != nil {
			return fmt.Errorf("render %s: %w", path, err)
		}
		return same(path, content, 0o600, owner, filepath.Join(dir, "tsig-*"))
	}
	for _, r := range layout.Regions {
		if err := put(filepath.Join(l.IdentityDir(r, "failover-arbiter"), "tsig.key"), owners.of("failover-arbiter"), update); err != nil {
			return err
		}
	}
	if err := put(filepath.Join(l.OperatorIdentityDir(), "tsig.key"), Owner{-1, -1}, update); err != nil {
		return err
	}
	if err := put(filepath.Join(l.OperatorIdentityDir(), "rndc.key"), Owner{-1, -1}, control); err != nil {
		return err
	}
	return put(filepath.Join(l.OutsideIdentityDir("bind"), "keys.conf"), owners.of("bind"), update, control)
}

func dnsSecret() ([]byte, error) {
	raw, err := randomBytes(32)
	return []byte(base64.StdEncoding.EncodeToString(raw)), err
}

func isDNSSecret(content []byte) bool {
	raw, err := base64.StdEncoding.DecodeString(string(content))
	return err == nil && len(raw) >= 32
}
