package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ofitec/ofitec/chassis/config"
)

// zeroPause is between the two looks that must both find no session: a login that had begun before the fence may still appear.
const zeroPause = 250 * time.Millisecond

const insufficientPrivilege = "42501"

// ErrStillThere is wrapped when sessions of a fenced user do not end.
var ErrStillThere = errors.New("sessions of the user are still there")

// Farewell is what was seen of a user's end.
type Farewell struct {
	Sessions int // that were ended
	Owned    int // objects that the revocation gives to the owner role
	Zero     bool
}

// Fencer is a login that may fence users of the application, and its open session.
type Fencer struct {
	server   Server
	user     string
	password config.Secret
	conn     *pgx.Conn
}

// OpenFencer logs in where writes are taken. Close it.
func (s Server) OpenFencer(ctx context.Context, user string, password config.Secret) (*Fencer, error) {
	conn, err := s.connect(ctx, s.Proxies, true, user, password)
	if err != nil {
		return nil, err
	}
	return &Fencer{s, user, password, conn}, nil
}

// Writes says whether the session is still where writes are taken.
func (f *Fencer) Writes(ctx context.Context) (writes bool) {
	err := f.conn.QueryRow(ctx, "SELECT NOT pg_catalog.pg_is_in_recovery()").Scan(&writes)
	return err == nil && writes
}

// Close ends the session.
func (f *Fencer) Close(ctx context.Context) { end(ctx, f.conn) }

// Fence lets the user in no more, commits that, ends its sessions and proves that none is left, on the standbys that can be reached too. A user that is not there
// has none. Each call is a transaction of its own: in one, a client that reconnects would slip in between.
func (f *Fencer) Fence(ctx context.Context, user string) (Farewell, error) {
	var f1 Farewell
	var there bool
	err := f.conn.QueryRow(ctx, "SELECT ofitec.fence_user($1)", user).Scan(&there)
	var refused *pgconn.PgError
	switch {
	case errors.As(err, &refused) && refused.Code == insufficientPrivilege:
		return f1, nil // not a member of its group, which the test has found out: pg_hba.conf lets it nowhere, and the revocation ends it
	case err != nil:
		return f1, fmt.Errorf("fence %s: %w", user, err)
	case !there:
		return Farewell{Zero: true}, nil
	}
	if err := f.conn.QueryRow(ctx, "SELECT ofitec.owned_by($1)", user).Scan(&f1.Owned); err != nil {
		return f1, fmt.Errorf("count what %s owns: %w", user, err)
	}
	f1.Sessions, err = clear(ctx, f.conn, user)
	if err != nil {
		return f1, err
	}
	f1.Zero = true
	for _, proxy := range f.server.ReadProxies {
		conn, err := f.server.connect(ctx, []string{proxy}, false, f.user, f.password)
		if err != nil {
			continue // no standby behind it, or none that has the fencer yet: the sweep of its own next time, and the user's end, reach it
		}
		ended, err := clear(ctx, conn, user)
		f1.Sessions += ended
		f1.Zero = f1.Zero && err == nil
		end(ctx, conn)
	}
	return f1, nil
}

// clear ends the user's sessions until two looks find none.
func clear(ctx context.Context, conn *pgx.Conn, user string) (ended int, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for zeros := 0; zeros < 2; {
		var now, left int
		if err := conn.QueryRow(ctx, "SELECT ofitec.end_sessions($1)", user).Scan(&now); err != nil {
			return ended, fmt.Errorf("end sessions of %s: %w", user, err)
		}
		ended += now
		if err := conn.QueryRow(ctx, "SELECT ofitec.user_sessions($1)", user).Scan(&left); err != nil {
			return ended, fmt.Errorf("count sessions of %s: %w", user, err)
		}
		zeros++
		if left > 0 {
			zeros = 0
		}
		if zeros == 2 {
			break
		}
		select {
		case <-ctx.Done():
			return ended, fmt.Errorf("end sessions of %s: %d left: %w", user, left, ErrStillThere)
		case <-time.After(zeroPause):
		}
	}
	return ended, nil
}

// Sweep ends sessions whose user is no more: a session that had SET ROLE outlives it.
func (f *Fencer) Sweep(ctx context.Context) (int, error) {
	var ended int
	if err := f.conn.QueryRow(ctx, "SELECT ofitec.end_orphan_sessions()").Scan(&ended); err != nil {
		return 0, fmt.Errorf("sweep sessions: %w", err)
	}
	return ended, nil
}

// User is one that Vault has made: its name ends with the time.
type User struct {
	Name  string
	Made  time.Time
	Login bool
}

// Users lists the members of a group that Vault has made by a role, of whose name it takes eight letters.
func (f *Fencer) Users(ctx context.Context, group, role string) ([]User, error) {
	rows, err := f.conn.Query(ctx, `SELECT u.rolname, u.rolcanlogin, coalesce(substring(u.rolname FROM '-([0-9]{1,12})$')::bigint, 0)
		FROM pg_catalog.pg_auth_members m JOIN pg_catalog.pg_roles u ON u.oid = m.member JOIN pg_catalog.pg_roles o ON o.oid = m.roleid
		WHERE o.rolname = $1 AND u.rolname LIKE 'v-%' AND position('-' || left($2, 8) || '-' IN u.rolname) > 0 ORDER BY 1`, group, role)
	if err != nil {
		return nil, fmt.Errorf("list users: %w", err)
	}
	users, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (User, error) {
		var u User
		var made int64
		err := row.Scan(&u.Name, &u.Login, &made)
		u.Made = time.Unix(made, 0)
		return u, err
	})
	if err != nil {
		return nil, fmt.Errorf("list users: %w", err)
	}
	return users, nil
}
