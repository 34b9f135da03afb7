SELECT
    date,
    coalesce(hk_project, 0) AS hk_project,
    coalesce(hk_partner, 0) AS hk_partner,
    hk_invoice,
    invoice_id,
    CASE move_type WHEN 'out_refund' THEN 'credit_note' ELSE 'invoice' END AS document_type,
    state,
    amount_total - coalesce(amount_tax, 0) AS amount_untaxed,
    amount_tax,
    amount_total,
    CASE move_type WHEN 'out_refund' THEN -1 ELSE 1 END AS sign,
    currency,
    due_date,
    retention_amount
FROM vault_s_invoice
WHERE is_current AND NOT is_deleted
    AND state = 'posted'
    AND move_type IN ('out_invoice', 'out_refund', 'out_receipt')
