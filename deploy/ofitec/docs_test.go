package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const cameFrom = "../../docs/from-entrega-12.md"

// row is a line of one of the tables: what there was, and where it is now.
type row struct {
	line         int
	earlier, now string
}

func rowsOf(t *testing.T, path string) []row {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var rows []row
	for n, line := range strings.Split(string(content), "\n") {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| earlier |") {
			continue
		}
		cells := strings.Split(strings.ReplaceAll(strings.Trim(line, "| "), `\|`, "¦"), "|")
		if len(cells) < 2 {
			t.Fatalf("line %d of %s has %d cells", n+1, path, len(cells))
		}
		rows = append(rows, row{n + 1, strings.TrimSpace(cells[0]), strings.TrimSpace(strings.Join(cells[1:], "|"))})
	}
	if len(rows) < 50 {
		t.Fatalf("found %d rows only in %s: the reading is wrong", len(rows), path)
	}
	return rows
}

// everything that the earlier delivery had and that others may look for.
var everything = []string{
	"infra/failover/manager.py", "infra/secrets/postgres-role.sql", "infra/secrets/rotate_and_deploy.sh", "infra/etl/runner.py", "infra/etl/checks.yml", "infra/etl/validate.py",
	"infra/docker-compose.prod.yml", "infra/.env", "infra/.env.bak", "infra/.env.new", "make -C infra canary", "switcher.py --one-shot",
	"`etcd`", "`failover_mgr`", "`etl_runner`", "network `ofitec`", "volume `warehouse`",
	"`PROM_A`", "`PROM_B`", "`DNS_API`", "`IP_A`", "`IP_B`", "`ETCD`", "`VAULT_ADDR`", "`VAULT_TOKEN`", "`POSTGRES_USER`", "`POSTGRES_PASSWORD`",
	"`/ofitec/active`", "lock `ofitec-failover`", "`database/creds/odoo-app`", "`gate:healthy`", "`db:replication_lag_seconds`", "`odoo:p95_5m`", "`odoo:error_rate_5m`", "`/of/export/*`",
	"`stage_*`", "`vault_*`", "`mart_*`", "`stage_project`", "`stage_partner`", "`stage_invoice`", "`vault_h_project`", "`hk_project`", "`vault_h_partner`", "`hk_partner`",
	"`vault_l_project_invoice`", "`hk_invoice`", "`vault_s_invoice`", "`mart_fact_sales`", "`mart_fact_cashflow`", "`mart_fact_wip`", "ofitec.duckdb",
	"`/warehouse/raw/`", "`/warehouse/stage/`", "`/warehouse/vault/`", "`/warehouse/marts/`", "`ofitec_prod`", "`odoo_blue`", "`odoo_green`", "`db_primary`", "`db_standby`",
	"`traefik`", "`prom`", "`loki`", "`blackbox`", "`restic`", "Grafana, Metabase", "`python:3.11-slim`", "`quay.io/coreos/etcd:v3.5`",
}

func TestEverythingOfTheEarlierDeliveryIsAccountedFor(t *testing.T) {
	rows := rowsOf(t, cameFrom)
	for _, name := range everything {
		found := false
		for _, r := range rows {
			found = found || strings.Contains(r.earlier, name)
		}
		if !found {
			t.Errorf("%s says nothing of %s", cameFrom, name)
		}
	}
	for _, r := range rows {
		now, _, _ := strings.Cut(r.now, "|")
		if !strings.Contains(now, "](") && !strings.Contains(now, "went: ") && !strings.Contains(now, "later") && !strings.Contains(now, "below") {
			t.Errorf("line %d: %s is neither somewhere, nor gone for a reason, nor later: %q", r.line, r.earlier, now)
		}
	}
}

var linkOrCode = regexp.MustCompile("\\]\\(([^)]+)\\)|`([^`]+)`")

func TestEachTargetOfTheEarlierDeliverysThingsExists(t *testing.T) {
	checked := 0
	for _, r := range rowsOf(t, cameFrom) {
		now, _, _ := strings.Cut(r.now, "|")
		target := ""
		for _, found := range linkOrCode.FindAllStringSubmatch(r.now[:len(now)], -1) {
			if found[1] != "" {
				target = filepath.Join(filepath.Dir(cameFrom), found[1])
				if _, err := os.Stat(target); err != nil {
					t.Errorf("line %d: %s leads nowhere", r.line, found[1])
					target = ""
				}
				checked++
				continue
			}
			if target != "" && !stands(t, target, found[2]) {
				t.Errorf("line %d: %q does not stand in %s", r.line, found[2], target)
			}
		}
		for _, found := range linkOrCode.FindAllStringSubmatch(r.now[len(now):], -1) {
			if found[1] == "" {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(cameFrom), found[1])); err != nil {
				t.Errorf("line %d: %s leads nowhere", r.line, found[1])
			}
		}
	}
	if checked < 50 {
		t.Errorf("checked %d links only: the reading is wrong", checked)
	}
}

// stands says whether a word is in a file, or in the name or the text of any file of a folder.
func stands(t *testing.T, target, word string) bool {
	t.Helper()
	found := false
	err := filepath.WalkDir(target, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		found = found || strings.Contains(string(content), word) || path != target && strings.Contains(filepath.Base(path), word)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
