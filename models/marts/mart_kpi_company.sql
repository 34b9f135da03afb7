WITH rates AS (
    SELECT currency, date, arg_max(rate, rate_id) AS rate
    FROM vault_s_currency_rate
    WHERE is_current AND NOT is_deleted AND rate IS NOT NULL AND date IS NOT NULL
    GROUP BY currency, date
),
newest AS (SELECT currency, max(date) AS date FROM rates GROUP BY currency),
balances AS (
    SELECT account, date, arg_max(balance, balance_id) AS balance, arg_max(coalesce(currency, 'CLP'), balance_id) AS currency
    FROM vault_s_cash_balance
    WHERE is_current AND NOT is_deleted AND account IS NOT NULL AND date IS NOT NULL AND balance IS NOT NULL
    GROUP BY account, date
),
facts AS (
    SELECT month_end FROM mart_kpi_project
    UNION ALL
    SELECT last_day(date) FROM balances
),
horizon AS (
    SELECT last_day(CAST(timezone('America/Santiago', timezone('UTC', max(asof_clock))) AS DATE)) AS month_end FROM etl_batch
),
months AS (
    SELECT last_day(CAST(unnest(generate_series(date_trunc('month', min(month_end)), (SELECT date_trunc('month', month_end) FROM horizon), INTERVAL 1 MONTH)) AS DATE)) AS month_end FROM facts
),
accounts AS (
    SELECT m.month_end, b.account, arg_max(b.balance, b.date) AS balance, arg_max(b.currency, b.date) AS currency
    FROM months AS m JOIN balances AS b ON b.date <= m.month_end
    GROUP BY m.month_end, b.account
),
valued AS (
    SELECT a.*, least(a.month_end, n.date) AS rate_date FROM accounts AS a LEFT JOIN newest AS n ON n.currency = a.currency
),
cash AS (
    SELECT v.month_end, CASE WHEN count(*) = count(amount) THEN CAST(sum(amount) AS DECIMAL(30,2)) END AS cash
    FROM (
        SELECT
            v.month_end,
            CASE
                WHEN v.currency = 'CLP' THEN v.balance
                WHEN v.currency = 'UF' AND r.date = v.rate_date OR v.currency <> 'UF' AND v.rate_date - r.date <= 7 THEN CAST(round(v.balance * r.rate, 0) AS DECIMAL(18,2))
            END AS amount
        FROM valued AS v
        ASOF LEFT JOIN rates AS r ON r.currency = v.currency AND r.date <= v.rate_date
    ) AS v
    GROUP BY v.month_end
),
projects AS (
    SELECT month_end, CAST(sum(revenue) AS DECIMAL(30,2)) AS revenue, CAST(sum(direct_cost) AS DECIMAL(30,2)) AS direct_cost FROM mart_kpi_project GROUP BY month_end
),
sums AS (
    SELECT
        m.month_end,
        coalesce(p.revenue, 0::DECIMAL(30,2)) AS revenue,
        coalesce(p.direct_cost, 0::DECIMAL(30,2)) AS direct_cost,
        c.cash
    FROM months AS m LEFT JOIN projects AS p ON p.month_end = m.month_end LEFT JOIN cash AS c ON c.month_end = m.month_end
),
cents AS (
    SELECT *, CAST(revenue * 100 AS HUGEINT) AS d, CAST((revenue - direct_cost) * 100 AS HUGEINT) AS n FROM sums
)
SELECT
    month_end,
    revenue,
    direct_cost,
    CASE WHEN d <> 0 THEN CAST(sign(n) * sign(d) * CAST((abs(n) * 2000000 + abs(d)) // (2 * abs(d)) AS DECIMAL(24,0)) * CAST(0.000001 AS DECIMAL(7,6)) AS DECIMAL(18,6)) END AS gross_margin,
    cash
FROM cents
