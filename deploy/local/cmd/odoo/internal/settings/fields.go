package settings

import (
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// parse reads KEY=VALUE lines as Docker Compose does: blank lines and # comments are skipped, quotes around a value are
// taken off, a later line of a key wins.
func parse(text string) (map[string]string, []error) {
	lines := map[string]string{}
	var problems []error
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "export "))
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		key, value, found := strings.Cut(line, "=")
		key = strings.TrimSpace(key)
		if !found || key == "" || strings.ContainsAny(key, " \t") {
			// The line itself is not shown: it may hold a password.
			problems = append(problems, fmt.Errorf("line %d is not KEY=VALUE", i+1))
			continue
		}
		value = strings.TrimSpace(value)
		for _, quote := range []string{`"`, `'`} {
			if len(value) >= 2 && strings.HasPrefix(value, quote) && strings.HasSuffix(value, quote) {
				value = value[1 : len(value)-1]
				break
			}
		}
		lines[key] = value
	}
	return lines, problems
}

// fields reads typed values and remembers which keys were asked for and what was wrong.
type fields struct {
	lines    map[string]string
	asked    []string
	problems []error
}

func (f *fields) problem(key, value, text string) {
	if value != "" {
		key = fmt.Sprintf("%s=%q", key, value)
	}
	f.problems = append(f.problems, fmt.Errorf("%s %s", key, text))
}

func (f *fields) text(key, otherwise string) string {
	f.asked = append(f.asked, key)
	if value := f.lines[key]; value != "" {
		return value
	}
	return otherwise
}

func (f *fields) required(key string) string {
	value := f.text(key, "")
	if value == "" {
		f.problem(key, "", "is missing")
	}
	return value
}

func (f *fields) oneOf(key, otherwise string, values ...string) string {
	value := f.text(key, otherwise)
	if !slices.Contains(values, value) {
		f.problem(key, value, "must be one of "+strings.Join(values, ", "))
	}
	return value
}

func (f *fields) address(key string) string {
	value := f.required(key)
	if value == "" {
		return ""
	}
	if _, port, err := net.SplitHostPort(value); err != nil || port == "" {
		f.problem(key, value, "must be host:port, as 127.0.0.11:8069")
	}
	return value
}

func (f *fields) integer(key string, otherwise, least, most int) int {
	value := f.text(key, strconv.Itoa(otherwise))
	n, err := strconv.Atoi(value)
	if err != nil || n < least || n > most {
		f.problem(key, value, fmt.Sprintf("must be a whole number from %d to %d", least, most))
	}
	return n
}

func (f *fields) port(key string, otherwise int) int { return f.integer(key, otherwise, 1, 65535) }

func (f *fields) unsigned(key string, otherwise uint64) uint64 {
	value := f.text(key, strconv.FormatUint(otherwise, 10))
	n, err := strconv.ParseUint(value, 10, 64)
	if err != nil {
		f.problem(key, value, "must be a whole number from 0")
	}
	return n
}

func (f *fields) duration(key string, otherwise, least time.Duration) time.Duration {
	value := f.text(key, otherwise.String())
	d, err := time.ParseDuration(value)
	if err != nil || d < least {
		f.problem(key, value, fmt.Sprintf("must be a duration of %s or more, as 250ms or 2m", least))
	}
	return d
}

// urls is a comma list.
func (f *fields) urls(key string) []string {
	value := f.text(key, "")
	if value == "" {
		return nil
	}
	list := strings.Split(value, ",")
	for _, one := range list {
		if u, err := url.Parse(one); err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
			f.problem(key, one, "must be a URL, or several with commas between them, as http://127.0.0.11:8705/v1/announce")
		}
	}
	return list
}

func (f *fields) date(key string) string {
	value := f.text(key, "")
	if value == "" {
		return ""
	}
	if _, err := time.Parse(time.DateOnly, value); err != nil {
		f.problem(key, value, "must be a day, as 2026-11-24")
	}
	return value
}

func (f *fields) level(key string) slog.Level {
	value := f.text(key, "info")
	var level slog.Level
	if err := level.UnmarshalText([]byte(value)); err != nil {
		f.problem(key, value, "must be debug, info, warn or error")
	}
	return level
}

func (f *fields) secretFile(key string) string {
	file := f.text(key, "")
	if file == "" {
		return ""
	}
	text, err := os.ReadFile(file)
	if err != nil {
		f.problem(key, file, "cannot be read: "+err.Error())
		return ""
	}
	secret := strings.TrimSpace(string(text))
	if secret == "" {
		f.problem(key, file, "is an empty file; remove the line for an export without a token")
	}
	return secret
}

func (f *fields) unknown() []string {
	var unknown []string
	for key := range f.lines {
		own := strings.HasPrefix(key, "ODOO_") || strings.HasPrefix(key, "POSTGRES_")
		if own && !slices.Contains(f.asked, key) {
			unknown = append(unknown, key)
		}
	}
	slices.Sort(unknown)
	return unknown
}
