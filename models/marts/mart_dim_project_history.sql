SELECT
    h.hk_project,
    h.project_id,
    coalesce(s.version, 1) AS version,
    coalesce(s.write_date, TIMESTAMP '1900-01-01') AS valid_from,
    s.valid_to,
    coalesce(s.is_current, true) AS is_current,
    coalesce(s.is_deleted, false) AS is_deleted,
    coalesce(s.hk_partner, 0) AS hk_partner,
    s.project_name,
    s.manager,
    s.state,
    s.date_start,
    s.date_end,
    s.contract_amount,
    s.contract_currency,
    s.approved_changes,
    s.budget_cost,
    s.estimate_at_completion
FROM vault_h_project AS h
LEFT JOIN vault_s_project AS s ON s.hk_project = h.hk_project
UNION ALL BY NAME
SELECT 0::UHUGEINT AS hk_project, 0 AS project_id, 1 AS version, TIMESTAMP '1900-01-01' AS valid_from, true AS is_current, false AS is_deleted, '(unknown)' AS project_name, 0::UHUGEINT AS hk_partner
