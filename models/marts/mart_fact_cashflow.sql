SELECT
    date,
    coalesce(hk_project, 0) AS hk_project,
    category,
    status,
    amount,
    hk_cashflow_line,
    line_id
FROM vault_s_cashflow_line
WHERE is_current AND NOT is_deleted
