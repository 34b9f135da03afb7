package warehouse

import "testing"

func TestAnAttributeThatChangesMakesAVersionAndTouchesNoFact(t *testing.T) {
	t.Parallel()
	b := newCompany(t, "company")
	before := b.digests(t)
	key := query(t, b.db, "SELECT hk_project FROM mart_dim_project WHERE project_id = 1")
	b.load(t, b.file("project", "rows", projectColumns+"1,Torre,1,Bea,open,2025-01-01,,900000,CLP,100000,800000,850000,2026-01-10T08:00:00Z\n", -11))
	b.load(t, b.file("project", "rows", projectColumns+"1,Torre,1,Bea,open,2025-01-01,,900000,CLP,100000,800000,850000,2026-01-11T08:00:00Z\n", -10)) // nothing but the time
	b.expect(t, "SELECT version, manager, strftime(valid_from, '%Y-%m-%d'), strftime(valid_to, '%Y-%m-%d'), is_current FROM mart_dim_project_history WHERE project_id = 1 ORDER BY version",
		"1|Ana|2025-12-30|2026-01-10|false", "2|Bea|2026-01-10||true")
	b.expect(t, "SELECT manager, version, strftime(valid_from, '%Y-%m-%d') FROM mart_dim_project WHERE project_id = 1", "Bea|2|2026-01-10")
	b.expect(t, "SELECT hk_project FROM mart_dim_project WHERE project_id = 1", key...)
	b.expect(t, "SELECT count(DISTINCT hk_project) FROM mart_dim_project_history WHERE project_id = 1", "1")
	after := b.digests(t)
	for _, fact := range []string{"mart_fact_sales", "mart_fact_cashflow", "mart_fact_budget", "mart_fact_wip", "mart_fact_receivable", "mart_kpi_project", "mart_kpi_company"} {
		if before[fact] != after[fact] {
			t.Errorf("%s has changed with an attribute of a project", fact)
		}
	}
	// as it was on a day: the version that was in force, or the first
	b.expect(t, `SELECT d.day, h.manager FROM (VALUES ('2020-01-01'), ('2026-01-09'), ('2026-02-01')) AS d(day) JOIN mart_dim_project_history AS h
		ON h.project_id = 1 AND h.version = greatest(1, (SELECT max(version) FROM mart_dim_project_history AS o WHERE o.hk_project = h.hk_project AND o.valid_from <= CAST(d.day AS TIMESTAMP))) ORDER BY 1`,
		"2020-01-01|Ana", "2026-01-09|Ana", "2026-02-01|Bea")
}

func TestAPartnerThatIsDeletedKeepsItsHistoryAndTheUnknownOneIsThereOnce(t *testing.T) {
	t.Parallel()
	b := newCompany(t, "company")
	b.load(t, b.file("partner", "rows", "partner_id,partner_name,write_date\n1,Nuevo nombre,2026-01-10T08:00:00Z\n", -11))
	b.load(t, b.file("partner", "absent", "partner_id\n1\n", -10))
	b.expect(t, "SELECT version, partner_name, is_current, is_deleted FROM mart_dim_partner_history WHERE partner_id = 1 ORDER BY version DESC LIMIT 1", "1|Nuevo nombre|true|true")
	b.expect(t, "SELECT partner_name, version, is_current FROM mart_dim_partner_history WHERE hk_partner = 0", "(unknown)|1|true")
	b.expect(t, "SELECT count(*) FROM (SELECT hk_project FROM mart_kpi_project EXCEPT SELECT hk_project FROM mart_dim_project_history WHERE is_current)", "0")
}
