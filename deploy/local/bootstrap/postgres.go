package bootstrap

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ofitec/ofitec/deploy"
	"github.com/ofitec/ofitec/deploy/local/identity"
	"github.com/ofitec/ofitec/deploy/local/layout"
)

// Postgres is one region's database server as the bootstrap needs it. Its configuration is rendered by the caller and lives outside DataDir.
type Postgres struct {
	Region    layout.Region
	BinDir    string // folder of initdb and pg_basebackup
	DataDir   string // PGDATA; its parent must exist and belong to the server's user
	SocketDir string
	Port      int
	Address   string // host:port where the other region's server reaches it, over TLS
	CAFile    string
	PassFile  string          // libpq password file with ofitec_replication's line for the other region's Address
	User      *identity.Owner // whom the server runs as; nil for the current user
	// Namespace is the file of the region's network namespace; empty for the current one. The other region's server knows the copy by its address.
	Namespace string
	// Slot is the name of this region's replication slot at the other one: deploy.Postgres.Name, "region_b".
	Slot string
}

// InitPrimary makes the first cluster. A DataDir that holds one is left as it is; what an interrupted attempt left beside it is removed.
// It must be called once in the life of a stack only: a region that has lost its data is cloned (CloneStandby).
func InitPrimary(ctx context.Context, p Postgres) error {
	made, err := p.begin("init")
	if made || err != nil {
		return err
	}
	// Without --auth the hba file inside would trust everybody; the one in force lives outside, so the inner one lets nobody in.
	if err := p.run(ctx, "initdb", "--data-checksums", "--username=postgres", "--auth=reject", "--encoding=UTF8", "--locale=C.UTF-8", "--pgdata="+p.aside("init")); err != nil {
		return err
	}
	return p.finish("init")
}

// CloneStandby copies the source's cluster into an empty target, which will follow the source. The copy is a standby before it gets its final name, so that
// there is no moment at which a second primary could start from it. The source must run and take writes.
func CloneStandby(ctx context.Context, source, target Postgres) error {
	made, err := target.begin("clone")
	if made || err != nil {
		return err
	}
	if err := ensureSlot(ctx, source, target.Slot); err != nil {
		return err
	}
	host, port, found := strings.Cut(source.Address, ":")
	if !found {
		return fmt.Errorf("clone standby: address %q of region %s is not host:port", source.Address, source.Region)
	}
	conninfo := fmt.Sprintf("host=%s port=%s user=ofitec_replication passfile=%s sslmode=verify-full sslrootcert=%s application_name=%s_clone connect_timeout=5",
		host, port, target.PassFile, target.CAFile, target.Slot)
	aside := target.aside("clone")
	if err := target.run(ctx, "pg_basebackup", "--pgdata="+aside, "--wal-method=stream", "--slot="+target.Slot, "--checkpoint=fast", "--no-password", "--dbname="+conninfo); err != nil {
		return err
	}
	if err := target.markStandby(aside); err != nil {
		return err
	}
	return target.finish("clone")
}

// aside is where a cluster stands until it is whole.
func (p Postgres) aside(act string) string { return p.DataDir + "." + act }

// begin says whether the cluster is there, and otherwise clears what an interrupted attempt left.
func (p Postgres) begin(act string) (made bool, err error) {
	if _, err := os.Stat(filepath.Join(p.DataDir, "PG_VERSION")); err == nil {
		return true, nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("look at cluster of region %s: %w", p.Region, err)
	}
	entries, err := os.ReadDir(p.DataDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("look at cluster of region %s: %w", p.Region, err)
	}
	if len(entries) > 0 {
		return false, fmt.Errorf("%s is not empty and holds no cluster (no PG_VERSION); move it away and start again", p.DataDir)
	}
	if err := os.RemoveAll(p.aside(act)); err != nil {
		return false, fmt.Errorf("remove interrupted %s: %w", act, err)
	}
	return false, nil
}

// markStandby writes standby.signal, durably, into a copy that has none.
func (p Postgres) markStandby(dir string) error {
	path := filepath.Join(dir, "standby.signal")
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("mark standby: %w", err)
	}
	if p.User != nil {
		err = file.Chown(p.User.UID, p.User.GID)
	}
	if err = errors.Join(err, file.Sync(), file.Close(), syncFolder(dir)); err != nil {
		return fmt.Errorf("mark standby: %w", err)
	}
	return nil
}

// finish gives the whole cluster its name; initdb and pg_basebackup have synced it.
func (p Postgres) finish(act string) error {
	if err := os.Remove(p.DataDir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("replace empty %s: %w", p.DataDir, err)
	}
	if err := os.Rename(p.aside(act), p.DataDir); err != nil {
		return fmt.Errorf("put cluster into place: %w", err)
	}
	return syncFolder(filepath.Dir(p.DataDir))
}

func syncFolder(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// superuser connects over the Unix socket, which only the superuser's users of the operating system may. Its commits do not wait for a standby, which
// may be what the bootstrap is about to make; all of them can be repeated.
func (p Postgres) superuser(ctx context.Context, database string) (*pgx.Conn, error) {
	conn, err := pgx.Connect(ctx, fmt.Sprintf("host=%s port=%d user=postgres dbname=%s application_name=ofitec_bootstrap connect_timeout=5 synchronous_commit=local", p.SocketDir, p.Port, database))
	if err != nil {
		return nil, fmt.Errorf("connect to database %s of region %s: %w", database, p.Region, err)
	}
	return conn, nil
}

// ensureSlot makes the slot that keeps the source's WAL for the copy, from before the copy begins.
func ensureSlot(ctx context.Context, source Postgres, slot string) error {
	conn, err := source.superuser(ctx, "postgres")
	if err != nil {
		return err
	}
	defer closeNow(ctx, conn)
	_, err = conn.Exec(ctx, `SELECT pg_create_physical_replication_slot($1, true) WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = $1)`, slot)
	if err != nil {
		return fmt.Errorf("make replication slot %s: %w", slot, err)
	}
	// A slot whose WAL is gone holds nothing back any more and would refuse the copy.
	_, err = conn.Exec(ctx, `SELECT pg_drop_replication_slot(slot_name), pg_create_physical_replication_slot(slot_name, true)
		FROM pg_replication_slots WHERE slot_name = $1 AND wal_status = 'lost' AND NOT active`, slot)
	if err != nil {
		return fmt.Errorf("renew replication slot %s: %w", slot, err)
	}
	return nil
}

func closeNow(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = conn.Close(ctx)
}

// Roles makes roles, databases and grants on a server that takes writes. Passwords travel as verifiers only.
func Roles(ctx context.Context, p Postgres, set *identity.Set) error {
	verifiers := map[string]string{}
	for _, role := range deploy.PostgresLoginRoles {
		password, err := set.Password(role)
		if err != nil {
			return err
		}
		salt := make([]byte, 16)
		if _, err := rand.Read(salt); err != nil {
			return fmt.Errorf("make salt: %w", err)
		}
		if verifiers[role], err = deploy.SCRAMVerifier(password, salt); err != nil {
			return err
		}
	}
	scripts, err := deploy.PostgresRoles{Verifiers: verifiers}.Scripts()
	if err != nil {
		return err
	}
	for _, script := range scripts {
		if err := p.runScript(ctx, script); err != nil {
			return fmt.Errorf("run script %s: %w", script.Name, err)
		}
	}
	return nil
}

func (p Postgres) runScript(ctx context.Context, script deploy.PostgresScript) error {
	conn, err := p.superuser(ctx, script.Database)
	if err != nil {
		return err
	}
	defer closeNow(ctx, conn)
	if script.Unless != "" {
		results, err := conn.PgConn().Exec(ctx, script.Unless).ReadAll()
		if err != nil {
			return fmt.Errorf("ask whether it is needed: %w", err)
		}
		if len(results) > 0 && len(results[0].Rows) > 0 {
			return nil
		}
	}
	if _, err := conn.PgConn().Exec(ctx, script.SQL).ReadAll(); err != nil {
		return err
	}
	return nil
}
