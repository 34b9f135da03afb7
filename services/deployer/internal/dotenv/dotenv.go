// Package dotenv changes values of an environment file line by line and leaves every other byte as it was. A file that it cannot change safely is refused before
// anything is touched.
package dotenv

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Refused is a file that must not be changed as it is: a person has to look. Nothing was touched. It names no value.
type Refused struct {
	File   string
	Reason string
}

func (r *Refused) Error() string { return fmt.Sprintf("environment file %s %s", r.File, r.Reason) }

// Value is what a key shall hold.
type Value struct{ Key, Text string }

// Edit is what shall be changed in a file. The rest of it stays as it is.
type Edit struct {
	Set  map[string]string `json:"set,omitempty"`           // what keys shall hold
	Take []string          `json:"take,omitempty"`          // keys that shall hold what another file has for them
	Keep []string          `json:"take_if_there,omitempty"` // the same, of those that both files have
	Old  bool              `json:"old_compose,omitempty"`   // what shall be set and docker-compose 1 would misread is refused
}

// Keys are all that the edit may change.
func (e Edit) Keys() []string {
	return slices.Concat(slices.Sorted(maps.Keys(e.Set)), e.Take, e.Keep)
}

// misread says what docker-compose 1 would not read back, where it is in use.
func (e Edit) misread() error {
	for _, key := range slices.Sorted(maps.Keys(e.Set)) {
		if err := misreadByOld(e.Set[key]); err != nil && e.Old {
			return fmt.Errorf("cannot hold the new %s: %w", key, err)
		}
	}
	return nil
}

// key is what a shell takes for a name.
var key = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// IsKey says whether a file can have the key.
func IsKey(text string) bool { return key.MatchString(text) }

// values are what the edit comes to for a file, given another one's content.
func (e Edit) values(content, other []byte) ([]Value, error) {
	var values []Value
	for _, key := range slices.Sorted(maps.Keys(e.Set)) {
		values = append(values, Value{key, e.Set[key]})
	}
	taken, err := Read(other, e.Take...)
	if err != nil {
		return nil, err
	}
	values = append(values, taken...)
	for _, key := range e.Keep {
		there, err := Read(other, key)
		var none *missing
		if errors.As(err, &none) {
			continue
		}
		if err != nil {
			return nil, err
		}
		here, err := Read(content, key)
		if err == nil && here[0] != there[0] {
			values = append(values, there[0])
		}
	}
	return values, nil
}

// Change gives the content with the values in place of what the keys held. Each key must be there; one that stands there twice is changed in both places, for which
// of them counts depends on the reader. The error says what is wrong with the content, and is to be prefixed with the file's name.
func Change(content []byte, values ...Value) ([]byte, error) {
	if bytes.ContainsRune(content, '\r') {
		return nil, fmt.Errorf("has Windows line ends (CR): convert it to LF first")
	}
	quoted := map[string]string{}
	for _, value := range values {
		text, err := quote(value.Text)
		if err != nil {
			return nil, fmt.Errorf("cannot hold the new %s: %w", value.Key, err)
		}
		quoted[value.Key] = text
	}
	var out bytes.Buffer
	found := map[string]bool{}
	for line := range lines(content) {
		text, wanted := quoted[line.key]
		if line.key == "" || !wanted {
			out.Write(line.text)
			continue
		}
		found[line.key] = true
		if line.open != 0 {
			return nil, fmt.Errorf("has a value of %s over several lines (it opens with %c): write it on one", line.key, line.open)
		}
		out.Write(line.head)
		out.WriteString(text)
		if bytes.HasSuffix(line.text, []byte("\n")) {
			out.WriteByte('\n')
		}
	}
	for _, value := range values {
		if !found[value.Key] {
			return nil, fmt.Errorf("has no line %s=", value.Key)
		}
	}
	return out.Bytes(), nil
}

// Read gives the values of keys, as a shell and docker compose would. A key that is not there is an error, and so is a value that the two would not read alike. The
// error shows no value.
func Read(content []byte, keys ...string) ([]Value, error) {
	values := make([]Value, 0, len(keys))
	for _, key := range keys {
		text, found := "", false
		var err error
		for line := range lines(content) {
			if line.key != key {
				continue
			}
			found = true
			if text, err = unquote(strings.TrimRight(string(line.text[len(line.head):]), "\r\n")); err != nil {
				return nil, fmt.Errorf("has a value of %s %w", key, err)
			}
		}
		if !found {
			return nil, &missing{key}
		}
		values = append(values, Value{key, text})
	}
	return values, nil
}

// missing is a key that a file does not have.
type missing struct{ key string }

func (m *missing) Error() string { return fmt.Sprintf("has no line %s=", m.key) }

// line is one of a file. What is no assignment, and what stands within a value over several lines, has no key.
type line struct {
	text, head []byte // head is everything up to and with the equals sign
	key        string
	open       byte // the quote that the line opens and does not close
}

func lines(content []byte) iter.Seq[line] {
	return func(yield func(line) bool) {
		within := byte(0) // the quote of a value that goes on over this line
		for text := range bytes.Lines(content) {
			l := line{text: text}
			switch key, head, ok := assignment(text); {
			case within != 0:
				if closes(text, within) {
					within = 0
				}
			case ok:
				l.key, l.head = key, head
				if open, unclosed := unclosedQuote(text[len(head):]); unclosed {
					within, l.open = open, open
				}
			}
			if !yield(l) {
				return
			}
		}
	}
}

// assignment splits a line into everything up to and with the equals sign, and the key in it.
func assignment(line []byte) (key string, head []byte, ok bool) {
	at := bytes.IndexByte(line, '=')
	if at < 0 {
		return "", nil, false
	}
	name := strings.TrimLeft(string(line[:at]), " \t")
	if rest, exported := strings.CutPrefix(name, "export"); exported && strings.TrimLeft(rest, " \t") != rest {
		name = strings.TrimLeft(rest, " \t")
	}
	if name == "" || strings.ContainsAny(name, " \t#'\"") {
		return "", nil, false
	}
	return name, line[:at+1], true
}

// plain are the characters that mean themselves to a shell, to docker compose and to systemd, wherever they stand.
const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.,:@%+/"

// quote writes a value so that a shell, docker compose and systemd read the same text back. Between single quotes all take everything literally, but none can then
// hold a single quote, and docker compose takes an odd backslash at the end for one before the quote: there double quotes are used, with a backslash before what all
// would otherwise act upon. So they are for two backslashes in a row where nothing speaks against it: docker-compose 1 makes one of them between single quotes.
func quote(text string) (string, error) {
	single := !strings.Contains(text, "'") && (len(text)-len(strings.TrimRight(text, `\`)))%2 == 0
	switch {
	case text == "":
		return "", fmt.Errorf("it is empty")
	case strings.ContainsAny(text, "\x00\r\n"):
		return "", fmt.Errorf("it has a line end or a NUL byte")
	case !utf8.ValidString(text):
		return "", fmt.Errorf("it is no UTF-8, which systemd would drop")
	case strings.Trim(text, plain) == "":
		return text, nil
	case single && (!strings.Contains(text, `\\`) || strings.ContainsAny(text, "$`")):
		return "'" + text + "'", nil
	case strings.Contains(text, "`"):
		return "", fmt.Errorf("it has ` and also ' or a backslash at its end, which a shell and docker compose do not read alike in any quotes")
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`).Replace(text) + `"`, nil
}

// replacedByOld is what docker-compose 1 replaces in any quotes.
var replacedByOld = regexp.MustCompile(`\$\{[^}:]*(:-[^}]*)?\}`)

// misreadByOld says why docker-compose 1 (1.29 is what Debian 12 has) would not read a value back that the others do: it knows no backslash before $, makes one of
// two backslashes between single quotes, takes one before any closing quote for part of the text, and replaces ${NAME} in any.
func misreadByOld(text string) error {
	quoted, err := quote(text)
	switch {
	case err != nil:
		return nil //nolint:nilerr // nobody could read it: it is refused as such
	case replacedByOld.MatchString(text):
		return errors.New("it has ${...}, which docker-compose 1 replaces")
	case strings.HasSuffix(text, `\`):
		return errors.New("it has a backslash at its end, which docker-compose 1 takes for one before the quote")
	case quoted[0] == '"' && strings.Contains(text, "$"):
		return errors.New("it has $ and also ', which docker-compose 1 does not read in any quotes")
	case quoted[0] == '\'' && strings.Contains(text, `\\`):
		return errors.New("it has two backslashes in a row and also $ or `, which docker-compose 1 does not read in any quotes")
	}
	return nil
}

// errSeveralLines and errSeveralQuotes are values that are not read alike by all that read the file.
var (
	errSeveralLines  = errors.New("that goes on over several lines: write it on one")
	errSeveralQuotes = errors.New("that goes on behind its closing quote: write it in one pair of quotes")
)

// unquote gives the text of a value. What stands behind a blank and # is a comment.
func unquote(text string) (string, error) {
	if start := strings.TrimLeft(text, " \t"); start == "" || start[0] != '\'' && start[0] != '"' {
		for i := range text {
			if text[i] == '#' && i > 0 && (text[i-1] == ' ' || text[i-1] == '\t') {
				text = text[:i]
				break
			}
		}
		return strings.TrimSpace(text), nil
	}
	text = strings.TrimLeft(text, " \t")
	var out strings.Builder
	quote, rest := text[0], text[1:]
	for ; rest != "" && rest[0] != quote; rest = rest[1:] {
		if quote == '"' && rest[0] == '\\' && len(rest) > 1 && strings.IndexByte("\\\"$", rest[1]) >= 0 {
			rest = rest[1:]
		}
		out.WriteByte(rest[0])
	}
	if rest == "" {
		return "", errSeveralLines
	}
	if rest = strings.TrimSpace(rest[1:]); rest != "" && rest[0] != '#' {
		return "", errSeveralQuotes
	}
	return out.String(), nil
}

// unclosedQuote says that a value begins with a quote that its line does not close.
func unclosedQuote(value []byte) (open byte, unclosed bool) {
	value = bytes.TrimSpace(value)
	if len(value) == 0 || value[0] != '\'' && value[0] != '"' {
		return 0, false
	}
	if closes(value[1:], value[0]) {
		return 0, false
	}
	return value[0], true
}

// closes says whether a quote ends in the text.
func closes(text []byte, quote byte) bool {
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '\\' && quote == '"':
			i++
		case text[i] == quote:
			return true
		}
	}
	return false
}
