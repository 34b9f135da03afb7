WITH lines AS (
    SELECT hk_project, cost_category, period, amount AS budget, NULL::DECIMAL(18,2) AS committed, NULL::DECIMAL(18,2) AS actual
    FROM vault_s_budget_line WHERE is_current AND NOT is_deleted
    UNION ALL
    SELECT hk_project, cost_category, date, NULL, CASE kind WHEN 'committed' THEN amount END, CASE kind WHEN 'actual' THEN amount END
    FROM vault_s_cost_line WHERE is_current AND NOT is_deleted
),
sums AS (
    SELECT
        coalesce(hk_project, 0) AS hk_project,
        coalesce(cost_category, '(unknown)') AS cost_category,
        CAST(date_trunc('month', period) AS DATE) AS period,
        CAST(coalesce(sum(budget), 0) AS DECIMAL(30,2)) AS budget,
        CAST(coalesce(sum(committed), 0) AS DECIMAL(30,2)) AS committed,
        CAST(coalesce(sum(actual), 0) AS DECIMAL(30,2)) AS actual
    FROM lines
    GROUP BY ALL
)
SELECT *, budget - actual AS variance FROM sums
