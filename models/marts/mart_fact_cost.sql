SELECT
    date,
    coalesce(hk_project, 0) AS hk_project,
    cost_category,
    kind,
    amount,
    hk_cost_line,
    cost_line_id
FROM vault_s_cost_line
WHERE is_current AND NOT is_deleted
