package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"

	"github.com/jackc/pgx/v5/pgconn"
)

// Upstream is the other region's server as replication reaches it. It holds no connection and is safe for concurrent use.
type Upstream struct {
	Address  string // host:port
	PassFile string
	CAFile   string
	Slot     string // of this region there
}

// ErrNotPrimary says that the other region's server takes no writes.
var ErrNotPrimary = errors.New("the other region's server is no primary")

// ConnInfo is for the programs that copy and rewind the cluster, in this order. It holds no password. A server that vanishes in the middle is noticed by keepalives: who
// only reads has nothing unacknowledged that could time out.
func (u Upstream) ConnInfo() (replication, rewind string, err error) {
	host, port, err := net.SplitHostPort(u.Address)
	if err != nil {
		return "", "", fmt.Errorf("address of the other region's server: %w", err)
	}
	as := func(user, more string) string {
		return fmt.Sprintf("host=%s port=%s user=%s passfile=%s sslmode=verify-full sslrootcert=%s application_name=%s_copy connect_timeout=5 keepalives_idle=2 keepalives_interval=1 keepalives_count=5 tcp_user_timeout=5000%s",
			host, port, user, u.PassFile, u.CAFile, u.Slot, more)
	}
	return as("ofitec_replication", ""), as("ofitec_rewind", " dbname=postgres"), nil
}

// Prepare makes sure that the other server is a primary that can be copied, with a slot for this region, and says on which timeline it writes and, of a
// timeline that it has left, where: 0 when it never wrote on that one.
func (u Upstream) Prepare(ctx context.Context, timeline int) (now Branch, err error) {
	conn, err := u.connect(ctx)
	if err != nil {
		return Branch{}, fmt.Errorf("reach the other region's server: %w", err)
	}
	defer func() { _ = conn.Conn().Close() }()
	if conn.ParameterStatus("in_hot_standby") != "off" {
		return Branch{}, ErrNotPrimary
	}
	identity, err := command(ctx, conn, "IDENTIFY_SYSTEM")
	if err != nil {
		return Branch{}, err
	}
	if now.Timeline, err = strconv.Atoi(identity[1]); err != nil {
		return Branch{}, fmt.Errorf("the other region's timeline: %w", err)
	}
	if timeline > 0 && timeline < now.Timeline {
		history, err := command(ctx, conn, fmt.Sprintf("TIMELINE_HISTORY %d", now.Timeline))
		if err != nil {
			return Branch{}, err
		}
		if now.LSN, err = fork(history[1], timeline); err != nil {
			now.LSN = 0 // it never wrote on that one
		}
	}
	return now, u.ensureSlot(ctx, conn)
}

// ensureSlot makes the slot, or makes it anew when the WAL that it should have kept is gone.
func (u Upstream) ensureSlot(ctx context.Context, conn *pgconn.PgConn) error {
	slot, err := command(ctx, conn, "READ_REPLICATION_SLOT "+u.Slot)
	if err != nil {
		return err
	}
	if slot[0] != "" && slot[1] != "" {
		return nil
	}
	if slot[0] != "" {
		if _, err := command(ctx, conn, "DROP_REPLICATION_SLOT "+u.Slot); err != nil {
			return err
		}
	}
	_, err = command(ctx, conn, "CREATE_REPLICATION_SLOT "+u.Slot+" PHYSICAL RESERVE_WAL")
	return err
}

func (u Upstream) connect(ctx context.Context) (*pgconn.PgConn, error) {
	host, port, err := net.SplitHostPort(u.Address)
	if err != nil {
		return nil, err
	}
	config, err := pgconn.ParseConfig(fmt.Sprintf("host=%s port=%s user=ofitec_replication dbname=replication passfile='%s' sslmode=verify-full sslrootcert='%s' application_name=%s_copy",
		host, port, u.PassFile, u.CAFile, u.Slot))
	if err != nil {
		return nil, err
	}
	config.RuntimeParams["replication"] = "true"
	return pgconn.ConnectConfig(ctx, config)
}

// command runs a command of the replication protocol and gives its first row; NULL is empty. A command without a row gives none.
func command(ctx context.Context, conn *pgconn.PgConn, text string) ([]string, error) {
	results, err := conn.Exec(ctx, text).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", text, err)
	}
	if len(results) == 0 || len(results[0].Rows) == 0 {
		return nil, nil
	}
	var row []string
	for _, value := range results[0].Rows[0] {
		row = append(row, string(value))
	}
	return row, nil
}
