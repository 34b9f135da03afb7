WITH quoted AS (
    SELECT currency, date, arg_max(rate, rate_id) AS rate
    FROM vault_s_currency_rate
    WHERE is_current AND NOT is_deleted AND currency IS NOT NULL AND date IS NOT NULL AND rate > 0
    GROUP BY currency, date
),
spans AS (
    SELECT *, least(CASE currency WHEN 'UF' THEN date ELSE date + 7 END, lead(date) OVER (PARTITION BY currency ORDER BY date) - 1) AS until FROM quoted
)
SELECT currency, CAST(unnest(generate_series(date, until, INTERVAL 1 DAY)) AS DATE) AS date, rate, date AS quoted_on FROM spans
