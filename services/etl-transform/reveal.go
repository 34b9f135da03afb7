package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/ofitec/ofitec/chassis"
	"github.com/ofitec/ofitec/chassis/natsclient"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/bus"
	"github.com/ofitec/ofitec/models"
	"github.com/ofitec/ofitec/services/etl-transform/internal/token"
)

// revealed is one token and what is behind it.
type revealed struct {
	Token string `json:"token"`
	Value string `json:"value"`
}

// runReveal looks behind tokens. That is a right of its own: the key comes from OFITEC_REVEAL_KEY_FILE, which nothing else reads, and nothing is shown before the bus has
// acknowledged the event that tells who looked, why, and at how many.
func runReveal(ctx context.Context, c *Config, args []string, out io.Writer) error {
	a := newArguments("reveal")
	act := events.Act{At: time.Now().UTC()}
	a.StringVar(&act.Actor, "actor", "operator:"+os.Getenv("USER"), "who looks")
	a.StringVar(&act.Reason, "reason", "", "why; it stands in the audit trail")
	a.StringVar(&act.Request, "request", act.At.Format("20060102T150405Z-")+strings.ToLower(rand.Text()[:6]), "id of the request")
	tokens, err := a.read(args, -1)
	if err != nil {
		return err
	}
	if len(tokens) == 0 || strings.TrimSpace(act.Reason) == "" {
		return &chassis.UsageError{Reason: "reveal: want --reason and one token or more"}
	}
	if c.RevealKeyFile == "" {
		return errors.New("reveal: OFITEC_REVEAL_KEY_FILE is not set: who may look behind tokens has the key in a file of their own")
	}
	ring, err := token.OpenRing(c.RevealKeyFile)
	if err != nil {
		return err
	}
	var found []revealed
	counts := map[models.PII]int{}
	for _, t := range tokens {
		kind := kindOf(t)
		value, err := ring.Reveal(kind, t)
		if err != nil {
			return fmt.Errorf("%.16s...: %w", t, err)
		}
		counts[kind]++
		found = append(found, revealed{Token: t, Value: value})
	}
	if err := c.tellRevealed(ctx, act, counts); err != nil {
		return fmt.Errorf("nothing is shown, for it could not be told: %w", err)
	}
	return a.print(out, found, func(out io.Writer) {
		for _, r := range found {
			fmt.Fprintf(out, "%s %s\n", r.Token, r.Value)
		}
	})
}

func kindOf(text string) models.PII {
	prefix, _, _ := strings.Cut(text, "_")
	return models.PII(strings.TrimSuffix(prefix, "x"))
}

// tellRevealed publishes an event for each kind and waits for the acknowledgements.
func (c *Config) tellRevealed(ctx context.Context, act events.Act, counts map[models.PII]int) error {
	ctx, cancel := context.WithTimeout(ctx, connectWithin)
	defer cancel()
	conn, js, err := natsclient.Connect(ctx, c.Settings, name, c.Region)
	if err != nil {
		return err
	}
	defer conn.Close()
	for kind, tokens := range counts {
		one := act
		if len(counts) > 1 {
			one.Request += "-" + string(kind)
		}
		event, err := events.New(events.Origin{Region: events.Region(c.Region), Service: name}, act.At, events.WarehouseRevealed{Region: events.Region(c.Region), Act: one, Kind: string(kind), Tokens: tokens})
		if err != nil {
			return err
		}
		if _, err := bus.NewJetStream(js, nil).Publish(ctx, event); err != nil {
			return err
		}
	}
	return nil
}
