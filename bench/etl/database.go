package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// database is a PostgreSQL of the bench's own, configured as it comes, but for room that both sides need: nobody waits for a checkpoint that the other has caused.
type database struct {
	folder, admin, dsn string
	account            *syscall.Credential
}

const binaries = "/usr/lib/postgresql/15/bin/"

func startDatabase(ctx context.Context) (_ *database, err error) {
	d := &database{}
	if d.folder, err = os.MkdirTemp("/tmp", "bench-pg-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			d.stop(context.WithoutCancel(ctx))
		}
	}()
	if os.Geteuid() == 0 {
		if d.account, err = postgresUser(d.folder); err != nil {
			return nil, err
		}
	}
	free, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(free.Addr().String())
	_ = free.Close() // the server takes it
	if err := d.run(ctx, "initdb", "-D", d.folder+"/data", "-U", "postgres", "--auth=trust", "-E", "UTF8", "--locale=C.UTF-8"); err != nil {
		return nil, err
	}
	options := "-c listen_addresses=127.0.0.1 -c port=" + port + " -c unix_socket_directories=" + d.folder + " -c max_wal_size=8GB -c shared_buffers=256MB"
	if err := d.run(ctx, "pg_ctl", "-w", "-D", d.folder+"/data", "-l", d.folder+"/log", "-o", options, "start"); err != nil {
		return nil, err
	}
	d.admin = "postgres://postgres@127.0.0.1:" + port + "/postgres?sslmode=disable"
	d.dsn = strings.Replace(d.admin, "/postgres?", "/analytics?", 1)
	return d, nil
}

// postgresUser is who runs the server when this runs as root, and gives it the folder.
func postgresUser(folder string) (*syscall.Credential, error) {
	found, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("run PostgreSQL: it does not run as root, and there is no user postgres: %w", err)
	}
	uid, _ := strconv.ParseUint(found.Uid, 10, 32) // a user's number is one
	gid, _ := strconv.ParseUint(found.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, os.Chown(folder, int(uid), int(gid))
}

func (d *database) run(ctx context.Context, program string, args ...string) error {
	command := exec.CommandContext(ctx, binaries+program, args...)
	command.Dir, command.SysProcAttr = d.folder, &syscall.SysProcAttr{Credential: d.account}
	log, err := os.Create(filepath.Join(d.folder, program+".out")) // not a pipe: the server would hold it open
	if err != nil {
		return err
	}
	defer log.Close()
	command.Stdout, command.Stderr = log, log
	if err := command.Run(); err != nil {
		said, _ := os.ReadFile(log.Name())
		return fmt.Errorf("%s: %w: %s", program, err, said)
	}
	return nil
}

func (d *database) stop(ctx context.Context) {
	_ = d.run(ctx, "pg_ctl", "-D", d.folder+"/data", "-m", "immediate", "stop") // it may never have begun
	_ = os.RemoveAll(d.folder)
}

// fresh makes an empty database for readers, and nothing of the one before is left to be written.
func (d *database) fresh(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, d.admin)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for _, statement := range []string{"DROP DATABASE IF EXISTS analytics WITH (FORCE)", "CREATE DATABASE analytics", "CHECKPOINT"} {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return nil
}

// rawCopy is what a raw client copies: tables, and a file of each.
type rawCopy struct {
	tables []rawTable
	rows   int64
	bytes  int64
}

type rawTable struct{ create, copy, file string }

// dump writes what readers have to files in COPY's text format.
func (d *database) dump(ctx context.Context, folder string) (raw rawCopy, err error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return raw, err
	}
	conn, err := pgx.Connect(ctx, d.dsn)
	if err != nil {
		return raw, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	found, err := conn.Query(ctx, `SELECT c.relname::text, string_agg(quote_ident(attname) || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attnum)
		FROM pg_class c JOIN pg_attribute a ON attrelid = c.oid AND attnum > 0 AND NOT attisdropped WHERE relname LIKE 'mart\_%' AND relkind = 'r' GROUP BY relname ORDER BY relname`)
	if err != nil {
		return raw, err
	}
	var name, columns string
	_, err = pgx.ForEachRow(found, []any{&name, &columns}, func() error {
		raw.tables = append(raw.tables, rawTable{create: fmt.Sprintf("CREATE TABLE %s (%s)", name, columns), copy: name, file: filepath.Join(folder, name)})
		return nil
	})
	if err != nil {
		return raw, err
	}
	for _, table := range raw.tables {
		file, err := os.Create(table.file)
		if err != nil {
			return raw, err
		}
		tag, err := conn.PgConn().CopyTo(ctx, file, "COPY "+table.copy+" TO STDOUT")
		if err != nil {
			return raw, err
		}
		at, err := file.Seek(0, 1)
		if err != nil {
			return raw, err
		}
		raw.rows, raw.bytes = raw.rows+tag.RowsAffected(), raw.bytes+at
		if err := file.Close(); err != nil {
			return raw, err
		}
	}
	return raw, nil
}

// copyRaw makes the tables and copies the files into them, as one transaction: as fast as a client can be that knows nothing else.
func (d *database) copyRaw(ctx context.Context, raw rawCopy) (time.Duration, error) {
	begin := time.Now()
	conn, err := pgx.Connect(ctx, d.dsn)
	if err != nil {
		return 0, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, "BEGIN"); err != nil {
		return 0, err
	}
	for _, table := range raw.tables {
		if _, err := conn.Exec(ctx, table.create); err != nil {
			return 0, fmt.Errorf("%s: %w", table.create, err)
		}
		file, err := os.Open(table.file)
		if err != nil {
			return 0, err
		}
		_, err = conn.PgConn().CopyFrom(ctx, file, "COPY "+table.copy+" FROM STDIN")
		_ = file.Close() // it was read
		if err != nil {
			return 0, fmt.Errorf("copy %s: %w", table.copy, err)
		}
	}
	_, err = conn.Exec(ctx, "COMMIT")
	return time.Since(begin), err
}
