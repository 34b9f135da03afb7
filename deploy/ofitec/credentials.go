package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ofitec/ofitec/deploy/local"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/bus"
	"github.com/ofitec/ofitec/events/state"
)

func newCredentials() *cobra.Command {
	command := &cobra.Command{
		Use: "credentials", Short: "See the credentials that are rotated, rotate one now, read what became of them, take a user by hand",
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	command.AddCommand(newCredentialsList(), newCredentialsShow(), newCredentialsRotate(), newCredentialsHistory(), newCredentialsBreakGlass(), newCredentialsTell())
	return command
}

func newCredentialsList() *cobra.Command {
	command := &cobra.Command{
		Use: "list", Short: "List the credentials: version, user, age, what is left of ttl and max_ttl, the last rollout of each region",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withOperator(cmd, func(ctx context.Context, o *operator, inJSON bool) error {
				all, err := o.credentials(ctx)
				if err != nil {
					return err
				}
				views := viewsOf(all, time.Now())
				if inJSON {
					return writeJSON(cmd.OutOrStdout(), map[string]any{"credentials": views})
				}
				return printCredentials(cmd.OutOrStdout(), views)
			})
		},
	}
	outputFlag(command)
	return command
}

func newCredentialsShow() *cobra.Command {
	command := &cobra.Command{
		Use: "show NAME", Short: "Show one credential with all versions that are remembered", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withOperator(cmd, func(ctx context.Context, o *operator, inJSON bool) error {
				all, err := o.credentials(ctx)
				if err != nil {
					return err
				}
				one, err := all.find(args[0])
				if err != nil {
					return err
				}
				if inJSON {
					return writeJSON(cmd.OutOrStdout(), viewOf(one, time.Now()))
				}
				return printCredential(cmd.OutOrStdout(), viewOf(one, time.Now()))
			})
		},
	}
	outputFlag(command)
	return command
}

func newCredentialsRotate() *cobra.Command {
	var reason string
	var wait bool
	var within time.Duration
	command := &cobra.Command{
		Use: "rotate NAME", Short: "Ask for a new version now", Args: cobra.ExactArgs(1),
		Long: "Ask for a new version now.\n\nThe command goes out on JOBS with your name and the reason. With --wait it is followed until each region has deployed the version or rolled it\n" +
			"back and the one before is revoked: status 0 when the version is in use in every region, else 1.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if strings.TrimSpace(reason) == "" {
				return wrongUse{fmt.Errorf("--reason %q: must say why this is done", reason)}
			}
			if len(reason) > 1000 {
				return wrongUse{fmt.Errorf("--reason has %d bytes: at most 1000", len(reason))}
			}
			if within <= 0 {
				return wrongUse{fmt.Errorf("--within %s: must be more than 0", within)}
			}
			return withOperator(cmd, func(ctx context.Context, o *operator, inJSON bool) error {
				r := rotation{name: args[0], act: act(reason, time.Now()), wait: wait, within: within}
				return r.carryOut(ctx, cmd, o, inJSON)
			})
		},
	}
	flags := command.Flags()
	flags.StringVar(&reason, "reason", byHand, "why; it stands in the audit trail for ever")
	flags.BoolVar(&wait, "wait", false, "follow it to its end")
	flags.DurationVar(&within, "within", time.Hour, "how long --wait waits")
	outputFlag(command)
	return command
}

// withOperator opens the data folder and runs a command with the operator's identity.
func withOperator(cmd *cobra.Command, run func(ctx context.Context, o *operator, inJSON bool) error) error {
	inJSON, err := asJSON(cmd)
	if err != nil {
		return err
	}
	l, err := local.Open(dataFolder(cmd))
	if err != nil {
		return err
	}
	o, err := newOperator(l)
	if err != nil {
		return err
	}
	return run(cmd.Context(), o, inJSON)
}

// rotated is a credential and its rollouts by region, as they stand in etcd.
type rotated struct {
	state.Credential
	rollouts map[events.Region]state.Deployment
}

type rotatedAll []rotated

func (all rotatedAll) find(name string) (rotated, error) {
	var names []string
	for _, one := range all {
		if one.Name == name {
			return one, nil
		}
		names = append(names, one.Name)
	}
	if len(names) == 0 {
		return rotated{}, fmt.Errorf("credential %q: there is none yet; the rotator takes the first one over when Vault is there (ofitec status)", name)
	}
	return rotated{}, fmt.Errorf("credential %q: there is none of that name, only %s", name, strings.Join(names, ", "))
}

// credentials reads all credentials and rollouts.
func (o *operator) credentials(ctx context.Context) (rotatedAll, error) {
	client, err := o.etcd(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = client.Close() }()
	return readCredentials(ctx, client)
}

func readCredentials(ctx context.Context, client *clientv3.Client) (rotatedAll, error) {
	ctx, cancel := context.WithTimeout(ctx, etcdAnswer)
	defer cancel()
	answer, err := client.Get(ctx, state.PrefixCred, clientv3.WithPrefix())
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", state.PrefixCred, err)
	}
	rollouts, err := client.Get(ctx, state.PrefixDepl, clientv3.WithPrefix())
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", state.PrefixDepl, err)
	}
	all := rotatedAll{}
	for _, entry := range answer.Kvs {
		one, err := state.Decode[state.Credential](entry.Value)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", entry.Key, err)
		}
		all = append(all, rotated{one, map[events.Region]state.Deployment{}})
	}
	for _, region := range events.DataRegions {
		for _, one := range all {
			key := state.DeploymentKey(region, one.Name)
			n := slices.IndexFunc(rollouts.Kvs, func(kv *mvccpb.KeyValue) bool { return string(kv.Key) == key })
			if n < 0 {
				continue
			}
			rollout, err := state.Decode[state.Deployment](rollouts.Kvs[n].Value)
			if err != nil {
				return nil, fmt.Errorf("read %s: %w", key, err)
			}
			one.rollouts[region] = rollout
		}
	}
	return all, nil
}

// ask publishes the command.
func (o *operator) ask(ctx context.Context, job events.Payload, at time.Time) (bus.Receipt, error) {
	conn, js, err := o.nats()
	if err != nil {
		return bus.Receipt{}, err
	}
	defer conn.Close()
	event, err := events.New(events.Origin{Region: events.RegionA, Service: "operator"}, at, job)
	if err != nil {
		return bus.Receipt{}, err
	}
	return bus.NewJetStream(js, nil).Publish(ctx, event)
}
