package canon

import (
	"fmt"
	"strings"

	"github.com/ofitec/ofitec/models"
)

// SQLType is the DuckDB type of a column.
func SQLType(t models.Type) string {
	switch t.Kind {
	case models.Integer:
		return "BIGINT"
	case models.Decimal:
		return fmt.Sprintf("DECIMAL(%d,%d)", t.Precision, t.Scale)
	case models.Boolean:
		return "BOOLEAN"
	case models.Date:
		return "DATE"
	case models.Timestamp:
		return "TIMESTAMP"
	}
	return "VARCHAR"
}

// KindOf is the kind behind a DuckDB type as DESCRIBE tells it; what is no kind of ours is compared by its own text.
func KindOf(sqlType string) models.Kind {
	switch upper := strings.ToUpper(sqlType); {
	case upper == "VARCHAR":
		return models.Text
	case strings.HasPrefix(upper, "DECIMAL"):
		return models.Decimal
	case upper == "BOOLEAN":
		return models.Boolean
	case upper == "DATE":
		return models.Date
	case strings.HasPrefix(upper, "TIMESTAMP"):
		return models.Timestamp
	}
	return models.Integer
}

// Cast reads a text that is not nothing; what cannot be read becomes NULL. DuckDB rounds 42.7 to the integer 43 and 1.005 to two digits, and drops a
// timestamp's offset: all are stopped here.
func Cast(c models.Column, expr string) string {
	switch c.Type.Kind {
	case models.Integer, models.Decimal:
		// A number that reads back as it is written needs no look at its digits, which costs five times as much.
		read := fmt.Sprintf("TRY_CAST(%s AS %s)", expr, SQLType(c.Type))
		return fmt.Sprintf("CASE WHEN CAST(%[1]s AS VARCHAR) = %[2]s THEN %[1]s WHEN %[3]s THEN %[1]s END", read, expr, exact(expr, c.Type.Scale))
	case models.Timestamp:
		return finite(fmt.Sprintf("CASE WHEN strlen(%[1]s) > 19 AND regexp_matches(%[1]s, '[+-][0-9]{2}(:?[0-9]{2})?$') THEN CAST(TRY_CAST(%[1]s AS TIMESTAMPTZ) AS TIMESTAMP) ELSE TRY_CAST(%[1]s AS TIMESTAMP) END", expr))
	case models.Date:
		return finite("TRY_CAST(" + expr + " AS DATE)")
	case models.Enum:
		values := make([]string, len(c.Values))
		for i, value := range c.Values {
			values[i] = Literal(value)
		}
		return fmt.Sprintf("CASE WHEN %[1]s IN (%[2]s) THEN %[1]s END", expr, strings.Join(values, ", "))
	case models.Text:
		return expr
	}
	return fmt.Sprintf("TRY_CAST(%s AS %s)", expr, SQLType(c.Type))
}

// finite makes NULL of the engine's infinite times, which no export means.
func finite(expr string) string {
	return fmt.Sprintf("CASE WHEN isfinite(%[1]s) THEN %[1]s END", "("+expr+")")
}

// exact is true for a number that is written in digits and has no more of them behind its point, zeros left aside. It costs far less than a regular expression.
func exact(expr string, scale int) string {
	return fmt.Sprintf("(translate(%[1]s, '0123456789', '') IN ('', '-', '+', '.', '-.', '+.') AND (strpos(%[1]s, '.') = 0 OR strlen(%[1]s) - strpos(%[1]s, '.') <= %[2]d OR rtrim(substr(%[1]s, strpos(%[1]s, '.') + 1 + %[2]d), '0') = ''))", expr, scale)
}
