SELECT
    h.hk_partner,
    h.partner_id,
    coalesce(s.version, 1) AS version,
    coalesce(s.write_date, TIMESTAMP '1900-01-01') AS valid_from,
    s.valid_to,
    coalesce(s.is_current, true) AS is_current,
    coalesce(s.is_deleted, false) AS is_deleted,
    s.partner_name,
    s.rut,
    s.email,
    s.phone,
    s.is_customer,
    s.is_supplier
FROM vault_h_partner AS h
LEFT JOIN vault_s_partner AS s ON s.hk_partner = h.hk_partner
UNION ALL BY NAME
SELECT 0::UHUGEINT AS hk_partner, 0 AS partner_id, 1 AS version, TIMESTAMP '1900-01-01' AS valid_from, true AS is_current, false AS is_deleted, '(unknown)' AS partner_name
