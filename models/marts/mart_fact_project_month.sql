WITH horizon AS (
    SELECT last_day(CAST(timezone('America/Santiago', timezone('UTC', max(asof_clock))) AS DATE)) AS month_end FROM etl_batch
),
facts AS (
    SELECT hk_project, month_end, revenue, NULL::DECIMAL(18,2) AS direct_cost, documents_without_rate AS without_rate FROM mart_fact_billing
    UNION ALL
    SELECT coalesce(hk_project, 0), last_day(date), NULL, amount, NULL
    FROM vault_s_cost_line
    WHERE is_current AND NOT is_deleted AND kind = 'actual' AND date IS NOT NULL AND amount IS NOT NULL
    UNION ALL
    SELECT hk_project, last_day(date), NULL, NULL, NULL
    FROM vault_s_site_progress
    WHERE is_current AND NOT is_deleted AND hk_project IS NOT NULL AND date IS NOT NULL
    UNION ALL
    SELECT hk_project, last_day(date_start), NULL, NULL, NULL
    FROM vault_s_project
    WHERE is_current AND NOT is_deleted AND coalesce(state, '') <> 'draft' AND date_start IS NOT NULL
),
spans AS (
    SELECT hk_project, min(month_end) AS first, (SELECT month_end FROM horizon) AS last FROM facts GROUP BY hk_project
),
months AS (
    SELECT hk_project, last, last_day(CAST(unnest(generate_series(date_trunc('month', first), date_trunc('month', last), INTERVAL 1 MONTH)) AS DATE)) AS month_end FROM spans
),
sums AS (
    SELECT
        m.hk_project,
        m.month_end,
        m.month_end = m.last AS is_open,
        CAST(coalesce(sum(f.revenue), 0) AS DECIMAL(30,2)) AS revenue,
        CAST(coalesce(sum(f.direct_cost), 0) AS DECIMAL(30,2)) AS direct_cost,
        CAST(coalesce(sum(f.without_rate), 0) AS BIGINT) AS documents_without_rate
    FROM months AS m LEFT JOIN facts AS f ON f.hk_project = m.hk_project AND f.month_end = m.month_end
    GROUP BY m.hk_project, m.month_end, m.last
)
SELECT
    hk_project,
    month_end,
    is_open,
    revenue,
    direct_cost,
    CAST(sum(revenue) OVER so_far AS DECIMAL(30,2)) AS revenue_to_date,
    CAST(sum(direct_cost) OVER so_far AS DECIMAL(30,2)) AS direct_cost_to_date,
    documents_without_rate
FROM sums
WINDOW so_far AS (PARTITION BY hk_project ORDER BY month_end)
