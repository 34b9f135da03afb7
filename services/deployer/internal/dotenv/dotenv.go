// Package dotenv changes values of an environment file line by line and leaves every other byte as it was. A file that it cannot change safely is refused before
// anything is touched.
package dotenv

import (
	"bytes"
	"fmt"
	"strings"
)

// Refused is a file that must not be changed as it is: a person has to look. Nothing was touched. It names no value.
type Refused struct {
	File   string
	Reason string
}

func (r *Refused) Error() string { return fmt.Sprintf("environment file %s %s", r.File, r.Reason) }

// Value is what a key shall hold.
type Value struct{ Key, Text string }

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
	within := byte(0) // the quote of a value that goes on over this line
	for line := range bytes.Lines(content) {
		if within != 0 {
			if closes(line, within) {
				within = 0
			}
			out.Write(line)
			continue
		}
		key, head, ok := assignment(line)
		if !ok {
			out.Write(line)
			continue
		}
		open, unclosed := unclosedQuote(line[len(head):])
		text, wanted := quoted[key]
		if !wanted {
			if unclosed {
				within = open
			}
			out.Write(line)
			continue
		}
		found[key] = true
		if unclosed {
			return nil, fmt.Errorf("has a value of %s over several lines (it opens with %c): write it on one", key, open)
		}
		out.Write(head)
		out.WriteString(text)
		if bytes.HasSuffix(line, []byte("\n")) {
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

// Read gives the values of keys, as a shell and docker compose would. A key that is not there is an error.
func Read(content []byte, keys ...string) ([]Value, error) {
	values := make([]Value, 0, len(keys))
	for _, key := range keys {
		text, found := "", false
		for line := range bytes.Lines(content) {
			if k, head, ok := assignment(line); ok && k == key {
				text, found = unquote(strings.TrimRight(string(line[len(head):]), "\r\n")), true
			}
		}
		if !found {
			return nil, fmt.Errorf("has no line %s=", key)
		}
		values = append(values, Value{key, text})
	}
	return values, nil
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

// quote writes a value so that a shell and docker compose read the same text back. Between single quotes both take everything literally, but neither can then hold a
// single quote, and docker compose takes an odd backslash at the end for one before the quote: there double quotes are used, with a backslash before what both would
// otherwise act upon.
func quote(text string) (string, error) {
	switch {
	case text == "":
		return "", fmt.Errorf("it is empty")
	case strings.ContainsAny(text, "\x00\r\n"):
		return "", fmt.Errorf("it has a line end or a NUL byte")
	case strings.Trim(text, plain) == "":
		return text, nil
	case !strings.Contains(text, "'") && (len(text)-len(strings.TrimRight(text, `\`)))%2 == 0:
		return "'" + text + "'", nil
	case strings.Contains(text, "`"):
		return "", fmt.Errorf("it has ` and also ' or a backslash at its end, which a shell and docker compose do not read alike in any quotes")
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`).Replace(text) + `"`, nil
}

func unquote(text string) string {
	text = strings.TrimSpace(text)
	switch {
	case len(text) >= 2 && text[0] == '\'' && text[len(text)-1] == '\'':
		return text[1 : len(text)-1]
	case len(text) >= 2 && text[0] == '"' && text[len(text)-1] == '"':
		var out strings.Builder
		for escaped, inner := false, text[1:len(text)-1]; inner != ""; inner = inner[1:] {
			if c := inner[0]; c == '\\' && !escaped && len(inner) > 1 && strings.IndexByte("\\\"$", inner[1]) >= 0 {
				escaped = true
			} else {
				out.WriteByte(c)
				escaped = false
			}
		}
		return out.String()
	}
	return text
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
