WITH horizon AS (
    SELECT CAST(timezone('America/Santiago', timezone('UTC', max(asof_clock))) AS DATE) AS as_of FROM etl_batch
),
allocations AS (
    -- What is drafted or cancelled settles nothing.
    SELECT a.hk_invoice, a.hk_credit_note, a.date, a.amount, p.hk_payment IS NOT NULL AS paid
    FROM vault_s_payment_allocation AS a
    LEFT JOIN vault_s_payment AS p ON p.hk_payment = a.hk_payment AND p.is_current AND NOT p.is_deleted AND p.state = 'posted'
    LEFT JOIN mart_fact_sales AS c ON c.hk_invoice = a.hk_credit_note AND c.document_type = 'credit_note' AND a.hk_payment IS NULL
    WHERE a.is_current AND NOT a.is_deleted AND a.amount IS NOT NULL AND (p.hk_payment IS NOT NULL OR c.hk_invoice IS NOT NULL)
),
settled AS (
    SELECT hk_invoice, sum(amount) FILTER (paid) AS paid, sum(amount) FILTER (NOT paid) AS credited FROM allocations GROUP BY hk_invoice
),
uses AS (
    -- The amount is in the invoice's currency: the note's is taken through both rates of the day of the allocation, else of the note, rounded once (pesos are whole).
    SELECT a.hk_credit_note AS hk_invoice, CASE
        WHEN coalesce(i.currency, 'CLP') = coalesce(n.currency, 'CLP') THEN a.amount
        WHEN coalesce(n.currency, 'CLP') = 'CLP' THEN CAST(round(CAST(a.amount AS DECIMAL(30,2)) * ri.rate, 0) AS DECIMAL(18,2))
        ELSE CAST(TRY_CAST(quotient(cents(a.amount) * CASE WHEN coalesce(i.currency, 'CLP') = 'CLP' THEN 1000000 ELSE CAST(ri.rate * 1000000 AS HUGEINT) END, CAST(rn.rate * 1000000 AS HUGEINT)) AS DECIMAL(18,0)) * CAST(0.01 AS DECIMAL(3,2)) AS DECIMAL(18,2))
    END AS amount
    FROM allocations AS a
    JOIN mart_fact_sales AS i ON i.hk_invoice = a.hk_invoice
    JOIN mart_fact_sales AS n ON n.hk_invoice = a.hk_credit_note
    LEFT JOIN mart_dim_rate AS ri ON ri.currency = i.currency AND ri.date = coalesce(a.date, n.date)
    LEFT JOIN mart_dim_rate AS rn ON rn.currency = n.currency AND rn.date = coalesce(a.date, n.date)
    WHERE NOT a.paid
),
used AS (
    -- One that has no rate makes the sum unknown.
    SELECT hk_invoice, CASE WHEN count(*) = count(amount) THEN sum(amount) END AS used FROM uses GROUP BY hk_invoice
),
documents AS (
    SELECT
        d.*,
        coalesce(s.paid, 0)::DECIMAL(18,2) AS paid,
        CASE WHEN d.document_type = 'credit_note' AND u.hk_invoice IS NOT NULL THEN u.used WHEN d.document_type = 'credit_note' THEN 0 ELSE coalesce(s.credited, 0) END::DECIMAL(18,2) AS credited,
        coalesce(d.retention_amount, 0) AS retained
    FROM mart_fact_sales AS d
    LEFT JOIN settled AS s ON s.hk_invoice = d.hk_invoice
    LEFT JOIN used AS u ON u.hk_invoice = d.hk_invoice
),
rests AS (
    -- Retention is what is paid last: a payment settles the rest first.
    SELECT *, amount_total - paid - credited AS rest FROM documents
),
opens AS (
    SELECT *, CASE WHEN sign < 0 THEN 0 ELSE least(retained, greatest(rest, 0)) END::DECIMAL(18,2) AS retention_open FROM rests
),
ages AS (
    SELECT *, (sign * (rest - retention_open))::DECIMAL(18,2) AS open_amount, greatest((SELECT as_of FROM horizon) - coalesce(due_date, date), 0)::INTEGER AS days_overdue FROM opens
)
SELECT
    o.hk_invoice,
    o.invoice_id,
    o.hk_project,
    o.hk_partner,
    o.document_type,
    o.date,
    coalesce(o.due_date, o.date) AS due_date,
    o.currency,
    o.amount_total,
    o.paid,
    o.credited,
    o.retention_open,
    o.open_amount,
    CASE WHEN coalesce(o.currency, 'CLP') = 'CLP' THEN o.open_amount ELSE CAST(round(CAST(o.open_amount AS DECIMAL(30,2)) * r.rate, 0) AS DECIMAL(18,2)) END AS open_company,
    o.days_overdue,
    CASE
        WHEN o.open_amount IS NULL THEN 'unknown'
        WHEN o.open_amount = 0 AND o.retention_open > 0 THEN 'retention'
        WHEN o.open_amount = 0 THEN 'settled'
        WHEN o.open_amount < 0 THEN 'credit'
        WHEN o.days_overdue = 0 THEN 'not_due'
        WHEN o.days_overdue <= 30 THEN '1_30'
        WHEN o.days_overdue <= 60 THEN '31_60'
        WHEN o.days_overdue <= 90 THEN '61_90'
        ELSE 'over_90'
    END AS bucket,
    (SELECT as_of FROM horizon) AS as_of
FROM ages AS o
LEFT JOIN mart_dim_rate AS r ON r.currency = o.currency AND r.date = o.date
