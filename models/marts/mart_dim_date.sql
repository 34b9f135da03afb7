-- Easter is Meeus's rule for the Gregorian calendar. Everything is whole numbers, // divides them.
WITH years AS (SELECT CAST(unnest(range(2015, 2046)) AS INTEGER) AS y),
e1 AS (SELECT y, y % 19 AS a, y // 100 AS b, y % 100 AS c FROM years),
e2 AS (SELECT y, a, c, (19 * a + b - b // 4 - (b - (b + 8) // 25 + 1) // 3 + 15) % 30 AS h, b % 4 AS e FROM e1),
e3 AS (SELECT y, a, h, (32 + 2 * e + 2 * (c // 4) - h - c % 4) % 7 AS l FROM e2),
e4 AS (SELECT y, h + l - 7 * ((a + 11 * h + 22 * l) // 451) + 114 AS n FROM e3),
easter AS (SELECT y, make_date(y, n // 31, n % 31 + 1) AS sunday FROM e4),
fixed AS (
    SELECT * FROM (VALUES
        (1, 1, 'Año Nuevo'), (5, 1, 'Día del Trabajo'), (5, 21, 'Día de las Glorias Navales'), (7, 16, 'Virgen del Carmen'), (8, 15, 'Asunción de la Virgen'),
        (9, 18, 'Independencia Nacional'), (9, 19, 'Glorias del Ejército'), (11, 1, 'Día de Todos los Santos'), (12, 8, 'Inmaculada Concepción'), (12, 25, 'Navidad')
    ) AS v(m, d, holiday)
),
-- isodow: 1 is Monday
holidays AS (
    SELECT make_date(y, m, d) AS date, holiday FROM years, fixed
    UNION ALL SELECT sunday - 2, 'Viernes Santo' FROM easter
    UNION ALL SELECT sunday - 1, 'Sábado Santo' FROM easter
    -- Law 19.668: Tuesday to Thursday goes to the Monday before, Friday to the Monday after
    UNION ALL SELECT date + CASE isodow(date) WHEN 2 THEN -1 WHEN 3 THEN -2 WHEN 4 THEN -3 WHEN 5 THEN 3 ELSE 0 END, holiday
    FROM (SELECT make_date(y, 6, 29) AS date, 'San Pedro y San Pablo' AS holiday FROM years UNION ALL SELECT make_date(y, 10, 12), 'Encuentro de Dos Mundos' FROM years)
    -- Law 20.299: Tuesday goes to the Friday before, Wednesday to the Friday after
    UNION ALL SELECT date + CASE isodow(date) WHEN 2 THEN -4 WHEN 3 THEN 2 ELSE 0 END, 'Iglesias Evangélicas y Protestantes' FROM (SELECT make_date(y, 10, 31) AS date FROM years)
    -- Law 21.357: the day of the winter solstice in Chile, from 2021
    UNION ALL SELECT make_date(y, 6, CASE WHEN y > 2021 AND y % 4 < 2 THEN 20 ELSE 21 END), 'Pueblos Indígenas' FROM years WHERE y >= 2021
    -- Laws 20.215 and 20.983: bridges of the national holidays and the New Year
    UNION ALL SELECT date, 'Fiestas Patrias' FROM (SELECT make_date(y, 9, 17) AS date FROM years) WHERE isodow(date) = 1 OR isodow(date) = 5 AND year(date) >= 2017
    UNION ALL SELECT date, 'Fiestas Patrias' FROM (SELECT make_date(y, 9, 20) AS date FROM years) WHERE isodow(date) = 5
    UNION ALL SELECT date, 'Año Nuevo' FROM (SELECT make_date(y, 1, 2) AS date FROM years) WHERE isodow(date) = 1 AND year(date) >= 2017
    -- of one year: laws 21.017 and 21.482
    UNION ALL SELECT * FROM (VALUES (DATE '2017-04-19', 'Censo'), (DATE '2022-09-16', 'Fiestas Patrias'))
),
named AS (SELECT date, min(holiday) AS holiday FROM holidays GROUP BY date),
days AS (SELECT CAST(unnest(generate_series(DATE '2015-01-01', DATE '2045-12-31', INTERVAL 1 DAY)) AS DATE) AS date)
SELECT
    d.date,
    CAST(year(d.date) AS INTEGER) AS year,
    CAST(quarter(d.date) AS INTEGER) AS quarter,
    CAST(month(d.date) AS INTEGER) AS month,
    CAST(day(d.date) AS INTEGER) AS day,
    CAST(date_trunc('month', d.date) AS DATE) AS month_start,
    last_day(d.date) AS month_end,
    CAST(isoyear(d.date) AS INTEGER) AS iso_year,
    CAST(weekofyear(d.date) AS INTEGER) AS iso_week,
    CAST(isodow(d.date) AS INTEGER) AS weekday,
    isodow(d.date) >= 6 AS is_weekend,
    h.holiday,
    h.holiday IS NOT NULL AS is_holiday,
    isodow(d.date) < 6 AND h.holiday IS NULL AS is_working_day
FROM days AS d
LEFT JOIN named AS h ON h.date = d.date
