SELECT
    c.month_end,
    c.write_date AS closed_at,
    c.closed_by,
    c.reason,
    CAST(c.value AS BIGINT) AS manifest_sequence,
    (SELECT count(f.as_reported) FROM mart_closed_figure AS f WHERE f.month_end = c.month_end) AS figures,
    (SELECT count(*) FROM mart_closed_figure AS f WHERE f.month_end = c.month_end AND f.as_reported IS DISTINCT FROM f.as_restated) AS figures_restated,
    (SELECT count(*) FROM mart_closed_document AS d WHERE d.month_end = c.month_end) AS documents_restated
FROM vault_s_close AS c
WHERE c.is_current AND NOT c.is_deleted AND c.mart = 'month'
