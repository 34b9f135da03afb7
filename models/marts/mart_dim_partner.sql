SELECT
    h.hk_partner,
    h.partner_id,
    s.partner_name,
    s.rut,
    s.email,
    s.phone,
    s.is_customer,
    s.is_supplier,
    coalesce(s.is_deleted, false) AS is_deleted,
    coalesce(s.version, 1) AS version,
    coalesce(s.write_date, TIMESTAMP '1900-01-01') AS valid_from
FROM vault_h_partner AS h
LEFT JOIN vault_s_partner AS s ON s.hk_partner = h.hk_partner AND s.is_current
UNION ALL BY NAME
SELECT 0::UHUGEINT AS hk_partner, 0 AS partner_id, '(unknown)' AS partner_name, false AS is_deleted, 1 AS version, TIMESTAMP '1900-01-01' AS valid_from
