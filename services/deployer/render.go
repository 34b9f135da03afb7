package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/ofitec/ofitec/chassis"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/services/deployer/internal/dotenv"
)

// render is the part of the deployer that runs as the user whom the environment files belong to: a supervisor, sudo or systemd starts it, and says with --keys what it
// may change. What is changed comes as JSON on the standard input, a dotenv.Edit such as {"set":{"POSTGRES_USER":"..."},"take":["POSTGRES_PASSWORD"]}; nothing of it is in
// arguments or in what is printed. A refused file is wrong use: exit status 2, and nothing was touched.
func render(args []string, in io.Reader) error {
	flags := flag.NewFlagSet("render", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	file := flags.String("env", "", "environment file")
	like := flags.String("like", "", "environment file that keys are taken from")
	keys := flags.String("keys", strings.Join(slices.Sorted(maps.Keys(fieldsOf[events.CredentialDatabase].usual)), ","), "keys that may be changed")
	if err := flags.Parse(args); err != nil || *file == "" || flags.NArg() > 0 {
		return &chassis.UsageError{Reason: "usage: deployer render --env FILE [--like FILE] [--keys KEY,KEY]; what is changed comes on the standard input"}
	}
	edit, err := readEdit(in, *like != "", strings.Split(*keys, ","))
	if err != nil {
		return err
	}
	_, err = dotenv.Apply(*file, *like, edit)
	var refused *dotenv.Refused
	if errors.As(err, &refused) {
		return &chassis.UsageError{Reason: refused.Error()}
	}
	return err
}

// readEdit takes what is wanted from the standard input. Its errors show nothing of that but keys.
func readEdit(in io.Reader, like bool, allowed []string) (edit dotenv.Edit, err error) {
	content, err := io.ReadAll(io.LimitReader(in, 64<<10))
	if err != nil {
		return edit, fmt.Errorf("read what is to be changed: %w", err)
	}
	wrong := func(format string, args ...any) error {
		return &chassis.UsageError{Reason: "the standard input " + fmt.Sprintf(format, args...)}
	}
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.DisallowUnknownFields()
	if decoder.Decode(&edit) != nil { // the error could show a part of it
		return edit, wrong(`is no JSON object with "set" (keys and texts), "take" and "take_if_there" (keys)`)
	}
	wanted := edit.Keys()
	if len(wanted) == 0 {
		return edit, wrong("names no key: want one or more of %s", strings.Join(allowed, ", "))
	}
	if len(edit.Set) < len(wanted) && !like {
		return edit, wrong("takes keys from another file: want --like FILE")
	}
	for _, key := range wanted {
		if !slices.Contains(allowed, key) {
			return edit, wrong("has the key %q: want those of --keys, %s", key, strings.Join(allowed, ", "))
		}
	}
	return edit, nil
}
