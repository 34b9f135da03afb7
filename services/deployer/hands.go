package main

import (
	"context"

	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/deployer/internal/command"
	"github.com/ofitec/ofitec/services/deployer/internal/dotenv"
	"github.com/ofitec/ofitec/services/deployer/internal/rollout"
	"github.com/ofitec/ofitec/services/deployer/internal/supervisor"
)

// hands reach a colour: its environment file and its process. A *dotenv.Refused means that the file must be looked at by a person; other errors may pass. They are
// called by one goroutine at a time.
type hands interface {
	// Write changes a colour's file. What the edit takes comes from the other colour's.
	Write(ctx context.Context, colour state.Colour, edit dotenv.Edit) error
	// Restart starts a colour anew with its file as it is, and returns when the process before is gone.
	Restart(ctx context.Context, colour state.Colour) error
}

// own are this process's own hands: it may write the files, and runs a command to start a colour.
type own struct {
	files   map[state.Colour]string
	command command.Command
}

func (o own) Write(_ context.Context, colour state.Colour, edit dotenv.Edit) error {
	_, err := dotenv.Apply(o.files[colour], o.files[rollout.Other(colour)], edit)
	return err
}

func (o own) Restart(ctx context.Context, colour state.Colour) error {
	return o.command.Restart(ctx, colour)
}

// lent are a supervisor's hands, which run as Odoo's user.
type lent struct{ *supervisor.Supervisor }

func supervised(socket string) hands { return lent{supervisor.New(socket)} }
