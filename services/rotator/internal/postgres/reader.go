package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ofitec/ofitec/chassis/config"
)

// TryReader logs in as a new user who may only read, where writes are taken, so that nothing but its rights keeps it from writing: it is a member of its group, and
// even when it asks for a transaction that writes it can make nothing.
func (s Server) TryReader(ctx context.Context, database, group, user string, password config.Secret) (problem string, err error) {
	s.Database = database
	conn, err := s.open(ctx, s.Proxies, "primary", user, password) // its sessions are read-only by themselves
	if err != nil {
		return judge(err)
	}
	defer end(ctx, conn)
	var member bool
	if err := conn.QueryRow(ctx, "SELECT pg_has_role(session_user, $1, 'USAGE')", group).Scan(&member); err != nil {
		return judge(fmt.Errorf("ask whose member the new reader is: %w", err))
	}
	if !member {
		return fmt.Sprintf("%s is not a member of %s: the role's users lack the membership", user, group), nil
	}
	_, err = conn.Exec(ctx, "BEGIN READ WRITE; CREATE TABLE public.ofitec_rotation_test (n integer)")
	var refused *pgconn.PgError
	switch {
	case errors.As(err, &refused) && refused.Code == insufficientPrivilege:
		return "", nil
	case err == nil:
		return "the new reader can make a table, and so is none", nil // never committed
	}
	return judge(fmt.Errorf("try to write as the new reader: %w", err))
}
