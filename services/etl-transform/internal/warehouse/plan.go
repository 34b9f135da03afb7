package warehouse

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"github.com/ofitec/ofitec/models"
	"github.com/ofitec/ofitec/services/etl-transform/internal/vault"
)

// Definition is one thing of the models and the SQL that it becomes.
type Definition struct {
	Kind string `json:"kind"` // dataset, mart or check
	Name string `json:"name"`
	File string `json:"file"`
	SQL  string `json:"sql"`
	// Change is new, changed, gone or "" against the file.
	Change string `json:"change,omitempty"`
}

// Definitions lists what models become, in order: tables and loads of datasets, marts, checks.
func Definitions(m *models.Models) ([]Definition, error) {
	plans, err := vault.Plans(m)
	if err != nil {
		return nil, err
	}
	var all []Definition
	for _, p := range plans {
		statements := slices.Concat(p.DDL(), []string{p.NoneBad(), p.Read(vault.Spool{Typed: []string{"<plain records>"}, Other: []string{"<other records>"}, Parallel: true})}, p.Observe(0), p.Recall(), p.Grow(0), p.Derive(0), p.First(0))
		all = append(all, Definition{Kind: "dataset", Name: p.Dataset.Name, File: p.Dataset.File, SQL: strings.Join(statements, ";\n\n") + ";"})
	}
	for _, mart := range m.Marts() {
		text := fmt.Sprintf("-- grain %s; reads %s", strings.Join(mart.Grain, ", "), strings.Join(mart.Reads, ", "))
		if mart.DrivenBy != "" {
			text += fmt.Sprintf("; driven by %s through %s", mart.DrivenBy, mart.Key)
		}
		all = append(all, Definition{Kind: "mart", Name: mart.Name, File: mart.File, SQL: text + "\n" + mart.SQL + ";"})
	}
	for _, c := range m.Checks() {
		all = append(all, Definition{Kind: "check", Name: c.Table + " " + c.Name(), File: "checks.yml", SQL: checkSQL(c) + ";"})
	}
	return all, nil
}

// saveModels keeps the definitions in the file, for a later plan.
func (w *Warehouse) saveModels(ctx context.Context, tx *sql.Tx) error {
	definitions, err := Definitions(w.o.Models)
	if err != nil {
		return err
	}
	for _, d := range definitions {
		if _, err := tx.ExecContext(ctx, "INSERT INTO etl_model VALUES (?, ?, ?, ?)", d.Kind, d.Name, d.File, d.SQL); err != nil {
			return fmt.Errorf("write models: %w", err)
		}
	}
	return nil
}

// Plan says what models would change in a file. Definitions that the file has and the models have not are at the end.
func Plan(ctx context.Context, db *sql.DB, m *models.Models) ([]Definition, error) {
	planned, err := Definitions(m)
	if err != nil {
		return nil, err
	}
	found, err := db.QueryContext(ctx, "SELECT kind, name, file, definition FROM etl_model ORDER BY ALL")
	if err != nil {
		return nil, fmt.Errorf("read the models of the file: %w", err)
	}
	defer found.Close()
	before := map[string]Definition{}
	for found.Next() {
		var d Definition
		if err := found.Scan(&d.Kind, &d.Name, &d.File, &d.SQL); err != nil {
			return nil, fmt.Errorf("read the models of the file: %w", err)
		}
		before[d.Kind+" "+d.Name] = d
	}
	for i, d := range planned {
		old, known := before[d.Kind+" "+d.Name]
		delete(before, d.Kind+" "+d.Name)
		switch {
		case !known:
			planned[i].Change = "new"
		case old.SQL != d.SQL:
			planned[i].Change = "changed"
		}
	}
	var gone []Definition
	for _, d := range before {
		d.Change = "gone"
		gone = append(gone, d)
	}
	slices.SortFunc(gone, func(a, b Definition) int { return strings.Compare(a.Kind+a.Name, b.Kind+b.Name) })
	return append(planned, gone...), found.Err()
}
