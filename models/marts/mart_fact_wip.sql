-- Earned value: PMBOK Guide, 6th edition, table 7.1 (EAC as BAC/CPI). Cost to cost: percent = cost to date / estimated total cost; earned revenue = percent x contract value.
-- Quotients are taken of exact amounts and rounded once: ratio(n, d) is NULL when d is 0, share(a, b, c) is a x b / c.
WITH reports AS (
    SELECT hk_project, date, physical_percent, planned_percent
    FROM vault_s_site_progress
    WHERE is_current AND NOT is_deleted AND hk_project IS NOT NULL AND date IS NOT NULL
    QUALIFY row_number() OVER (PARTITION BY hk_project, date ORDER BY progress_id DESC) = 1
),
progress AS (
    SELECT *, physical_percent < lag(physical_percent) OVER (PARTITION BY hk_project ORDER BY date) AS went_back FROM reports
),
newest AS (SELECT currency, max(date) AS date FROM mart_dim_rate GROUP BY currency),
projects AS (
    SELECT *, coalesce(contract_currency, 'CLP') AS currency, contract_amount + coalesce(approved_changes, 0) AS agreed, coalesce(estimate_at_completion, budget_cost) AS estimate
    FROM vault_s_project WHERE is_current
),
inputs AS (
    SELECT
        m.month_end AS date,
        m.hk_project,
        m.is_open,
        p.estimate,
        p.agreed,
        p.budget_cost AS bac,
        CAST(m.direct_cost_to_date AS DECIMAL(18,2)) AS ac,
        CAST(m.revenue_to_date AS DECIMAL(18,2)) AS billed,
        coalesce(p.state = 'cancel', false) AS cancelled,
        coalesce(p.state = 'cancel' OR p.state = 'done' AND p.date_end <= m.month_end, false) AS finished,
        CASE
            WHEN p.state = 'cancel' THEN CAST(m.revenue_to_date AS DECIMAL(18,2))
            WHEN p.currency = 'CLP' THEN CAST(round(p.agreed, 2) AS DECIMAL(18,2))
            ELSE CAST(round(CAST(p.agreed AS DECIMAL(30,2)) * r.rate, 0) AS DECIMAL(18,2))
        END AS contract_value,
        s.physical_percent,
        s.planned_percent,
        s.went_back,
        -- least and greatest pass NULL over
        CASE WHEN s.physical_percent IS NOT NULL THEN CAST(least(greatest(s.physical_percent, 0), 100) * 0.01 AS DECIMAL(18,6)) END AS percent_physical,
        CASE WHEN s.planned_percent IS NOT NULL THEN CAST(least(greatest(s.planned_percent, 0), 100) * 0.01 AS DECIMAL(18,6)) END AS percent_planned
    FROM mart_fact_project_month AS m
    LEFT JOIN projects AS p ON p.hk_project = m.hk_project
    LEFT JOIN newest AS n ON n.currency = p.currency
    LEFT JOIN mart_dim_rate AS r ON r.currency = p.currency AND r.date = CASE WHEN m.is_open THEN least(m.month_end, n.date) ELSE m.month_end END
    ASOF LEFT JOIN progress AS s ON s.hk_project = m.hk_project AND s.date <= m.month_end
    WHERE m.hk_project <> 0 AND coalesce(p.state, '') <> 'draft' AND NOT coalesce(p.is_deleted, false)
),
measures AS (
    SELECT
        *,
        CAST(round(percent_planned * CAST(bac AS DECIMAL(30,2)), 2) AS DECIMAL(18,2)) AS pv,
        CAST(round(percent_physical * CAST(bac AS DECIMAL(30,2)), 2) AS DECIMAL(18,2)) AS ev,
        CASE WHEN estimate > 0 THEN ratio(ac, estimate) END AS percent_cost_raw,
        CASE WHEN finished THEN contract_value WHEN estimate > 0 THEN share(least(greatest(ac, 0), estimate), contract_value, estimate) END AS earned_revenue
    FROM inputs
),
forecasts AS (
    SELECT *, CASE WHEN ac <> 0 AND ev <> 0 THEN share(bac, ac, ev) END AS eac FROM measures
)
SELECT
    date,
    hk_project,
    bac,
    pv,
    ev,
    ac,
    ev - ac AS cv,
    ev - pv AS sv,
    ratio(ev, ac) AS cpi,
    ratio(ev, pv) AS spi,
    eac,
    eac - ac AS etc,
    bac - eac AS vac,
    ratio(bac - ev, bac - ac) AS tcpi,
    percent_physical,
    CAST(CASE WHEN finished THEN 1 WHEN percent_cost_raw IS NOT NULL THEN least(greatest(percent_cost_raw, 0), 1) END AS DECIMAL(18,6)) AS percent_cost,
    contract_value,
    earned_revenue,
    billed,
    CASE WHEN earned_revenue IS NOT NULL THEN greatest(billed - earned_revenue, 0) END AS over_billing,
    CASE WHEN earned_revenue IS NOT NULL THEN greatest(earned_revenue - billed, 0) END AS under_billing,
    percent_planned,
    percent_cost_raw,
    CASE WHEN cancelled THEN 0 WHEN estimate > 0 AND contract_value IS NOT NULL THEN greatest(estimate - contract_value, 0) END AS expected_loss,
    is_open,
    nullif(concat_ws(',',
        CASE WHEN NOT finished AND coalesce(estimate <= 0, true) THEN 'no_estimate' END,
        CASE WHEN NOT cancelled AND agreed IS NULL THEN 'no_contract' END,
        CASE WHEN NOT cancelled AND agreed IS NOT NULL AND contract_value IS NULL THEN 'no_rate' END,
        CASE WHEN percent_cost_raw > 1 THEN 'cost_over_estimate' END,
        CASE WHEN greatest(physical_percent, planned_percent) > 100 THEN 'progress_over_100' END,
        CASE WHEN least(physical_percent, planned_percent) < 0 THEN 'progress_below_0' END,
        CASE WHEN went_back THEN 'progress_went_back' END), '') AS warnings
FROM forecasts
