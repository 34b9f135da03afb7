-- A document is rounded once, to whole pesos, when it is converted.
WITH billed AS (
    SELECT
        d.hk_project,
        last_day(d.date) AS month_end,
        d.sign * CASE WHEN coalesce(d.currency, 'CLP') = 'CLP' THEN d.amount_untaxed ELSE CAST(round(CAST(d.amount_untaxed AS DECIMAL(30,2)) * r.rate, 0) AS DECIMAL(18,2)) END AS revenue
    FROM mart_fact_sales AS d
    LEFT JOIN mart_dim_rate AS r ON r.currency = d.currency AND r.date = d.date
    WHERE d.date IS NOT NULL
)
SELECT
    hk_project,
    month_end,
    CAST(coalesce(sum(revenue), 0) AS DECIMAL(30,2)) AS revenue,
    count(*) AS documents,
    count(*) FILTER (revenue IS NULL) AS documents_without_rate
FROM billed
GROUP BY hk_project, month_end
