package models

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// document gives the root of a file and its fields; no fields when there are none to read.
func (r *reader) document(text []byte, known []string) (*yaml.Node, map[string]*yaml.Node) {
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		r.problems = append(r.problems, yamlProblem(r.file, err))
		return nil, nil
	}
	if len(document.Content) == 0 {
		r.problem(nil, "", "is empty; it may have %s", strings.Join(known, ", "))
		return nil, nil
	}
	root := document.Content[0]
	return root, r.mapping(root, "", known)
}

// mapping gives the fields of a mapping node, or nil when it is none. Unknown and repeated fields are problems.
func (r *reader) mapping(n *yaml.Node, at string, known []string) map[string]*yaml.Node {
	if n.Kind != yaml.MappingNode {
		r.problem(n, at, "must be a mapping with %s", strings.Join(known, ", "))
		return nil
	}
	fields := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch {
		case !slices.Contains(known, key.Value):
			r.problem(key, joinField(at, key.Value), "is not a known field; fields are %s", strings.Join(known, ", "))
		case fields[key.Value] != nil:
			r.problem(key, joinField(at, key.Value), "is given twice, first at line %d", fields[key.Value].Line)
		default:
			fields[key.Value] = value
		}
	}
	return fields
}

// text reads a field that must be there.
func (r *reader) text(parent *yaml.Node, fields map[string]*yaml.Node, at, field string) string {
	if fields[field] == nil {
		r.problem(parent, joinField(at, field), "is missing")
		return ""
	}
	value := r.optionalText(fields, at, field)
	if value == "" && fields[field].Kind == yaml.ScalarNode {
		r.problem(fields[field], joinField(at, field), "is empty")
	}
	return value
}

// identifier reads a field that becomes a name in SQL.
func (r *reader) identifier(parent *yaml.Node, fields map[string]*yaml.Node, at, field string) string {
	value := r.text(parent, fields, at, field)
	if value != "" && !name.MatchString(value) {
		r.problem(fields[field], joinField(at, field), "%q is not a name; names are lower-case letters, digits and _, begin with a letter and have 63 characters at most", value)
	}
	return value
}

func (r *reader) optionalText(fields map[string]*yaml.Node, at, field string) string {
	n := fields[field]
	if n == nil {
		return ""
	}
	if n.Kind != yaml.ScalarNode {
		r.problem(n, joinField(at, field), "must be a text")
		return ""
	}
	return n.Value
}

func joinField(at, field string) string {
	if at == "" {
		return field
	}
	return at + "." + field
}

var yamlLine = regexp.MustCompile(`line (\d+): `)

// yamlProblem turns the parser's message, which has its line inside, into a problem.
func yamlProblem(file string, err error) Problem {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	p := Problem{File: file}
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		p.Line, _ = strconv.Atoi(m[1])
		text = strings.Replace(text, m[0], "", 1)
	}
	p.Text = "is not YAML: " + text
	return p
}
