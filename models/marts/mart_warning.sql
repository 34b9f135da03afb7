WITH known AS (SELECT DISTINCT currency FROM mart_dim_rate),
-- The small tables say where there is something to look for, so that the large ones are only read then.
lacking AS (SELECT hk_project, month_end FROM mart_fact_project_month WHERE documents_without_rate > 0),
unpaid AS (SELECT month_end FROM mart_kpi_company WHERE payments_without_rate > 0),
unrated AS (
    SELECT last_day(d.date) AS month_end, 'invoice' AS dataset, d.invoice_id AS id, d.hk_project, d.date, d.sign * d.amount_untaxed AS amount, d.currency
    FROM mart_fact_sales AS d SEMI JOIN lacking AS l ON l.hk_project = d.hk_project AND l.month_end = last_day(d.date)
    WHERE d.currency <> 'CLP'
    UNION ALL
    -- A credit note that settles a document of another currency: what of it is used is unknown.
    SELECT last_day(a.date), 'payment_allocation', a.allocation_id, a.hk_project, a.date, a.amount, a.currency
    FROM (
        SELECT a.allocation_id, a.amount, n.hk_project, coalesce(a.date, n.date) AS date, unnest([i.currency, n.currency]) AS currency
        FROM mart_fact_receivable AS n
        JOIN vault_s_payment_allocation AS a ON a.hk_credit_note = n.hk_invoice AND a.is_current AND NOT a.is_deleted AND a.hk_payment IS NULL AND a.amount IS NOT NULL
        JOIN mart_fact_sales AS i ON i.hk_invoice = a.hk_invoice AND coalesce(i.currency, 'CLP') <> coalesce(n.currency, 'CLP')
        WHERE n.credited IS NULL
    ) AS a ANTI JOIN mart_dim_rate AS r ON r.currency = a.currency AND r.date = a.date
    WHERE a.currency <> 'CLP'
    QUALIFY row_number() OVER (PARTITION BY a.allocation_id ORDER BY a.currency) = 1
    UNION ALL
    SELECT last_day(date), 'payment', payment_id, 0::UHUGEINT, date, amount, currency
    FROM vault_s_payment
    WHERE EXISTS (SELECT 1 FROM unpaid) AND is_current AND NOT is_deleted AND state = 'posted' AND direction = 'outbound' AND currency <> 'CLP' AND coalesce(kind, '') NOT IN ('transfer', 'financing', 'investment')
),
told AS (
    SELECT u.month_end, CASE WHEN k.currency IS NULL THEN 'unknown_currency' ELSE 'no_rate' END AS kind, u.dataset, CAST(u.id AS VARCHAR) AS document_id, u.hk_project, u.amount, u.currency
    FROM unrated AS u ANTI JOIN mart_dim_rate AS r ON r.currency = u.currency AND r.date = u.date
    LEFT JOIN known AS k ON k.currency = u.currency
    UNION ALL
    SELECT month_end, 'without_project', 'project', '0', hk_project, revenue + direct_cost, NULL
    FROM mart_fact_project_month WHERE hk_project = 0 AND (revenue <> 0 OR direct_cost <> 0)
    UNION ALL
    SELECT w.date, unnest(string_split(w.warnings, ',')), 'project', CAST(h.project_id AS VARCHAR), w.hk_project, NULL, NULL
    FROM mart_fact_wip AS w JOIN vault_h_project AS h ON h.hk_project = w.hk_project WHERE w.warnings IS NOT NULL
    UNION ALL
    SELECT w.date, 'budget_of_zero', 'project', CAST(h.project_id AS VARCHAR), w.hk_project, w.bac, NULL
    FROM mart_fact_wip AS w JOIN vault_h_project AS h ON h.hk_project = w.hk_project WHERE w.bac <= 0
    UNION ALL
    SELECT month_end, 'restated_' || what, dataset, document_id, hk_project, amount_now, NULL FROM mart_closed_document
)
SELECT month_end, kind, dataset, document_id, hk_project, CAST(amount AS DECIMAL(30,2)) AS amount, currency FROM told
