WITH closings AS (SELECT * FROM vault_s_close WHERE is_current AND NOT is_deleted),
closed AS (SELECT DISTINCT month_end FROM closings WHERE mart = 'month'),
reported AS (
    SELECT month_end, mart, coalesce(hk_project, 0) AS hk_project, coalesce(row_key, '') AS row_key, measure, value AS as_reported
    FROM closings WHERE starts_with(mart, 'mart_')
),
-- Whatever is a number is a figure, so that a new column of a mart needs no change here.
wip AS (SELECT date AS month_end, * EXCLUDE (date, is_open, warnings) FROM mart_fact_wip),
budget AS (SELECT last_day(period) AS month_end, * EXCLUDE (period) FROM mart_fact_budget),
present AS (
    SELECT month_end, 'mart_kpi_project' AS mart, hk_project, '' AS row_key, measure, value FROM (
        UNPIVOT (SELECT month_end, hk_project, TRY_CAST(COLUMNS(* EXCLUDE (month_end, hk_project, is_open)) AS DECIMAL(38,6)) FROM mart_kpi_project SEMI JOIN closed USING (month_end))
        ON COLUMNS(* EXCLUDE (month_end, hk_project)) INTO NAME measure VALUE value)
    UNION ALL
    SELECT month_end, 'mart_kpi_company', 0::UHUGEINT, '', measure, value FROM (
        UNPIVOT (SELECT month_end, TRY_CAST(COLUMNS(* EXCLUDE (month_end, is_open)) AS DECIMAL(38,6)) FROM mart_kpi_company SEMI JOIN closed USING (month_end))
        ON COLUMNS(* EXCLUDE (month_end)) INTO NAME measure VALUE value)
    UNION ALL
    SELECT month_end, 'mart_fact_wip', hk_project, '', measure, value FROM (
        UNPIVOT (SELECT month_end, hk_project, TRY_CAST(COLUMNS(* EXCLUDE (month_end, hk_project)) AS DECIMAL(38,6)) FROM wip SEMI JOIN closed USING (month_end))
        ON COLUMNS(* EXCLUDE (month_end, hk_project)) INTO NAME measure VALUE value)
    UNION ALL
    SELECT month_end, 'mart_fact_budget', hk_project, cost_category, measure, value FROM (
        UNPIVOT (SELECT month_end, hk_project, cost_category, TRY_CAST(COLUMNS(* EXCLUDE (month_end, hk_project, cost_category)) AS DECIMAL(38,6)) FROM budget SEMI JOIN closed USING (month_end))
        ON COLUMNS(* EXCLUDE (month_end, hk_project, cost_category)) INTO NAME measure VALUE value)
)
SELECT
    month_end,
    mart,
    hk_project,
    row_key,
    measure,
    r.as_reported,
    p.value AS as_restated,
    CAST(coalesce(p.value, 0) - coalesce(r.as_reported, 0) AS DECIMAL(38,6)) AS difference
FROM reported AS r FULL JOIN present AS p USING (month_end, mart, hk_project, row_key, measure)
