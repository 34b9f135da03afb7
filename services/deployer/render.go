package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"

	"github.com/ofitec/ofitec/chassis"
	"github.com/ofitec/ofitec/services/deployer/internal/dotenv"
)

// render is the part of the deployer that runs as the user whom the environment files belong to: a supervisor, sudo or systemd starts it. What is written comes
// as JSON on the standard input, {"POSTGRES_USER":"...","POSTGRES_PASSWORD":"..."}, or from another file; nothing of it is in arguments or in what is printed.
// A refused file is wrong use: exit status 2, and nothing was touched.
func render(args []string, in io.Reader) error {
	flags := flag.NewFlagSet("render", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	file := flags.String("env", "", "environment file")
	like := flags.String("like", "", "environment file that has the login already")
	if err := flags.Parse(args); err != nil || *file == "" || flags.NArg() > 0 {
		return &chassis.UsageError{Reason: "usage: deployer render --env FILE [--like FILE]; without --like the login comes on the standard input"}
	}
	var err error
	if *like != "" {
		_, err = dotenv.Like(*file, *like, keyUser, keyPassword)
	} else {
		err = rewrite(*file, in)
	}
	var refused *dotenv.Refused
	if errors.As(err, &refused) {
		return &chassis.UsageError{Reason: refused.Error()}
	}
	return err
}

func rewrite(file string, in io.Reader) error {
	content, err := io.ReadAll(io.LimitReader(in, 64<<10))
	if err != nil {
		return fmt.Errorf("read the login: %w", err)
	}
	var login map[string]string
	if json.Unmarshal(content, &login) != nil || len(login) != 2 || login[keyUser] == "" || login[keyPassword] == "" { // the error could show a part of it
		return &chassis.UsageError{Reason: fmt.Sprintf("the standard input is no JSON object with %s and %s", keyUser, keyPassword)}
	}
	_, err = dotenv.Rewrite(file, dotenv.Value{Key: keyUser, Text: login[keyUser]}, dotenv.Value{Key: keyPassword, Text: login[keyPassword]})
	return err
}
