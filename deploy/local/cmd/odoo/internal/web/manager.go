package web

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"net/http"

	"github.com/jackc/pgx/v5"

	"github.com/ofitec/ofitec/deploy/local/cmd/odoo/internal/database"
	"github.com/ofitec/ofitec/deploy/local/cmd/odoo/internal/reply"
)

// Manifest is what a backup of Odoo's database manager has beside the dump.
type Manifest struct {
	Dump     string `json:"odoo_dump"`
	Database string `json:"db_name"`
	Postgres string `json:"pg_version"`
}

// backup is the database manager's POST /web/database/backup, as far as it says who may ask: the answer is the manifest, without the dump.
func (s *Site) backup(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 1<<16)
	if !s.isMaster(r.PostFormValue("master_pwd")) {
		reply.JSON(w, http.StatusForbidden, reply.Problem{Error: "Access Denied", Parameter: "master_pwd"})
		return
	}
	manifest := Manifest{Dump: "1"}
	err := s.Database.Read(r.Context(), func(ctx context.Context, tx pgx.Tx, _ database.State) error {
		return tx.QueryRow(ctx, "SELECT current_database(), current_setting('server_version')").Scan(&manifest.Database, &manifest.Postgres)
	})
	if err != nil {
		reply.Error(w, r, s.Log, err)
		return
	}
	reply.JSON(w, http.StatusOK, manifest)
}

// isMaster says that a text is the master password. Without one nobody has it.
func (s *Site) isMaster(text string) bool {
	if s.Master == "" {
		return false
	}
	got, want := sha256.Sum256([]byte(text)), sha256.Sum256([]byte(s.Master))
	return subtle.ConstantTimeCompare(got[:], want[:]) == 1
}
