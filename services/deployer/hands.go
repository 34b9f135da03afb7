package main

import (
	"context"

	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/deployer/internal/command"
	"github.com/ofitec/ofitec/services/deployer/internal/dotenv"
	"github.com/ofitec/ofitec/services/deployer/internal/rollout"
	"github.com/ofitec/ofitec/services/deployer/internal/supervisor"
	"github.com/ofitec/ofitec/services/deployer/internal/vault"
)

// Keys of the environment file that are rewritten.
const (
	keyUser     = "POSTGRES_USER"
	keyPassword = "POSTGRES_PASSWORD"
)

// hands reach a colour: its environment file and its process. A *dotenv.Refused means that the file must be looked at by a person; other errors may pass. They are
// called by one goroutine at a time.
type hands interface {
	// Render writes a login into a colour's file.
	Render(ctx context.Context, colour state.Colour, login vault.Login) error
	// Align gives a colour's file the login that the other colour's has.
	Align(ctx context.Context, colour state.Colour) error
	// Restart starts a colour anew with its file as it is, and returns when the process before is gone.
	Restart(ctx context.Context, colour state.Colour) error
}

// own are this process's own hands: it may write the files, and runs a command to start a colour.
type own struct {
	files   map[state.Colour]string
	command command.Command
}

func values(login vault.Login) []dotenv.Value {
	return []dotenv.Value{{Key: keyUser, Text: login.User}, {Key: keyPassword, Text: login.Password.Reveal()}}
}

func (o own) Render(_ context.Context, colour state.Colour, login vault.Login) error {
	_, err := dotenv.Rewrite(o.files[colour], values(login)...)
	return err
}

func (o own) Align(_ context.Context, colour state.Colour) error {
	_, err := dotenv.Like(o.files[colour], o.files[rollout.Other(colour)], keyUser, keyPassword)
	return err
}

func (o own) Restart(ctx context.Context, colour state.Colour) error {
	return o.command.Restart(ctx, colour)
}

// lent are a supervisor's hands, which run as Odoo's user.
type lent struct{ supervisor *supervisor.Supervisor }

func supervised(socket string) hands { return lent{supervisor.New(socket)} }

func (l lent) Render(ctx context.Context, colour state.Colour, login vault.Login) error {
	return l.supervisor.Write(ctx, colour, values(login)...)
}

func (l lent) Align(ctx context.Context, colour state.Colour) error {
	return l.supervisor.Like(ctx, colour)
}

func (l lent) Restart(ctx context.Context, colour state.Colour) error {
	return l.supervisor.Restart(ctx, colour)
}
