-- Margin = (revenue - direct cost) / revenue; backlog = contract value - revenue earned to date; WIP = earned - billed. NULL without the divisor.
SELECT
    m.hk_project,
    m.month_end,
    m.revenue,
    m.direct_cost,
    ratio(m.revenue - m.direct_cost, m.revenue) AS gross_margin,
    m.revenue_to_date,
    m.direct_cost_to_date,
    ratio(m.revenue_to_date - m.direct_cost_to_date, m.revenue_to_date) AS gross_margin_to_date,
    w.earned_revenue,
    ratio(w.earned_revenue - w.ac, w.earned_revenue) AS earned_margin,
    w.contract_value,
    w.contract_value - w.earned_revenue AS backlog,
    w.earned_revenue - w.billed AS wip,
    w.over_billing,
    w.under_billing,
    w.expected_loss,
    m.documents_without_rate,
    m.is_open
FROM mart_fact_project_month AS m
LEFT JOIN mart_fact_wip AS w ON w.hk_project = m.hk_project AND w.date = m.month_end
