package config

import "log/slog"

// Alias is a variable's name in an earlier delivery, still accepted.
type Alias struct {
	Old string // the earlier name
	New string // the name of today
}

// withAliases takes the value of a field's old name when the new one is not set. Both set and different is a problem, because
// nobody can know which one was meant.
func withAliases(f field, value string, aliases []Alias) (string, error) {
	from := f.variable
	for _, alias := range aliases {
		if alias.New != f.variable {
			continue
		}
		old, err := valueOf(field{variable: alias.Old, value: f.value})
		if err != nil {
			return "", err
		}
		if old == "" {
			continue
		}
		if value != "" && value != old {
			return "", &Problem{Variable: alias.Old, Value: shown(f, old), Want: "only one of " + alias.Old + " and " + from + ", or the same in both"}
		}
		slog.Info("configuration by a name of the earlier delivery", "variable", alias.Old, "name_of_today", alias.New)
		value, from = old, alias.Old
	}
	return value, nil
}
