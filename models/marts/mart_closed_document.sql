WITH closings AS (SELECT * FROM vault_s_close WHERE is_current AND NOT is_deleted),
closed AS (SELECT DISTINCT month_end FROM closings WHERE mart = 'month'),
reported AS (
    SELECT month_end, mart AS dataset, row_key AS document_id, coalesce(hk_project, 0) AS hk_project, value AS amount
    FROM closings WHERE mart <> 'month' AND NOT starts_with(mart, 'mart_')
),
documents AS (
    SELECT last_day(date) AS month_end, 'invoice' AS dataset, invoice_id AS id, hk_project, date,
        CASE WHEN move_type IN ('out_refund', 'in_refund') THEN -1 ELSE 1 END * (amount_total - coalesce(amount_tax, 0)) AS amount
    FROM vault_s_invoice WHERE is_current AND NOT is_deleted AND state = 'posted'
    UNION ALL SELECT last_day(date), 'cost_line', cost_line_id, hk_project, date, amount FROM vault_s_cost_line WHERE is_current AND NOT is_deleted
    UNION ALL SELECT last_day(date), 'payment', payment_id, NULL, date, amount FROM vault_s_payment WHERE is_current AND NOT is_deleted AND state = 'posted'
    UNION ALL SELECT last_day(date), 'cashflow_line', line_id, hk_project, date, amount FROM vault_s_cashflow_line WHERE is_current AND NOT is_deleted AND status = 'actual'
    UNION ALL SELECT last_day(period), 'budget_line', budget_line_id, hk_project, period, amount FROM vault_s_budget_line WHERE is_current AND NOT is_deleted
    UNION ALL SELECT last_day(date), 'cash_balance', balance_id, NULL, date, balance FROM vault_s_cash_balance WHERE is_current AND NOT is_deleted
    UNION ALL SELECT last_day(date), 'site_progress', progress_id, hk_project, date, physical_percent FROM vault_s_site_progress WHERE is_current AND NOT is_deleted
),
present AS (
    SELECT month_end, dataset, CAST(id AS VARCHAR) AS document_id, coalesce(hk_project, 0) AS hk_project, date, CAST(coalesce(amount, 0) AS DECIMAL(38,6)) AS amount
    FROM documents SEMI JOIN closed USING (month_end)
)
SELECT
    month_end,
    dataset,
    document_id,
    CASE WHEN r.amount IS NULL THEN 'late' WHEN p.amount IS NULL THEN 'gone' ELSE 'changed' END AS what,
    coalesce(p.hk_project, r.hk_project) AS hk_project,
    p.date,
    r.amount AS amount_reported,
    p.amount AS amount_now
FROM reported AS r FULL JOIN present AS p USING (month_end, dataset, document_id)
WHERE r.amount IS DISTINCT FROM p.amount OR r.hk_project IS DISTINCT FROM p.hk_project
