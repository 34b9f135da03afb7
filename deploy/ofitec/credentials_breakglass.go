package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ofitec/ofitec/chassis/etcd"
	"github.com/ofitec/ofitec/deploy/local/layout"
	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/bus"
	"github.com/ofitec/ofitec/events/state"
)

// brokenGlass is the printed result. The password stands in the file and nowhere else.
type brokenGlass struct {
	Name      string     `json:"name"`
	User      string     `json:"user"`
	File      string     `json:"file"`
	ExpiresAt time.Time  `json:"expires_at"`
	Announced string     `json:"announced"`           // on the bus, or where it waits for the bus to come back
	Unchecked string     `json:"unchecked,omitempty"` // what could not be looked at, and why
	Act       events.Act `json:"act"`
}

func newCredentialsBreakGlass() *cobra.Command {
	var reason, file string
	command := &cobra.Command{
		Use: "break-glass NAME", Short: "Take a user of the database by hand, for a quarter of an hour", Args: cobra.ExactArgs(1),
		Long: "Take a user of the database by hand, for a quarter of an hour.\n\nIt needs Vault and the database, and neither rotator, deployer, bus nor etcd. The login goes into a new file of mode 0600 that a\n" +
			"shell reads (set -a; . FILE; psql); your name and the reason go into the audit trail first: when the bus is away, into etcd, from where the rotator brings them to it; when\n" +
			"etcd is away too, into the operator's folder, from where ofitec credentials tell brings them. What could not be checked is said.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if strings.TrimSpace(reason) == "" {
				return wrongUse{fmt.Errorf("--reason %q: must say why this is done", reason)}
			}
			if len(reason) > 1000 {
				return wrongUse{fmt.Errorf("--reason has %d bytes: at most 1000", len(reason))}
			}
			return withOperator(cmd, func(ctx context.Context, o *operator, inJSON bool) error {
				taken, err := o.breakGlass(ctx, args[0], file, act(reason, time.Now()))
				if err != nil {
					return err
				}
				if inJSON {
					return writeJSON(cmd.OutOrStdout(), taken)
				}
				return printBrokenGlass(cmd.OutOrStdout(), taken)
			})
		},
	}
	command.Flags().StringVar(&reason, "reason", "", "why; it stands in the audit trail for ever (required)")
	command.Flags().StringVar(&file, "file", "", "where the login goes; it must not be there (default: in the operator's folder)")
	outputFlag(command)
	return command
}

func printBrokenGlass(w io.Writer, taken brokenGlass) error {
	unchecked := ""
	if taken.Unchecked != "" {
		unchecked = "not checked: " + taken.Unchecked + "\n"
	}
	_, err := fmt.Fprintf(w, "user %s until %s; log in with: set -a; . %s; psql\nannounced %s as request %s\n%s",
		taken.User, taken.ExpiresAt.Local().Format(time.DateTime), taken.File, taken.Announced, taken.Act.Request, unchecked)
	return err
}

// breakGlass makes a user, announces who took it, and only then hands it out. What cannot be announced is taken back.
func (o *operator) breakGlass(ctx context.Context, name, file string, by events.Act) (brokenGlass, error) {
	if file == "" {
		file = filepath.Join(o.layout.OperatorDir(), "break-glass-"+by.Request+".env")
	}
	return o.glassWay().take(ctx, name, file, by)
}

func (o *operator) glassWay() glassWay {
	return glassWay{
		known: o.credentials, user: o.vaultUser, publish: o.publish, etcd: func(ctx context.Context) (*clientv3.Client, error) { return o.etcd(ctx) },
		untold: untold(filepath.Join(o.layout.OperatorDir(), "untold")), login: o.loginFile,
	}
}

// glassWay is what is known of credentials, by whom a user is made, who is told, and what its file says.
type glassWay struct {
	known   func(ctx context.Context) (rotatedAll, error)
	user    func(ctx context.Context) (glass, error)
	publish func(ctx context.Context, event events.Event) error
	etcd    func(ctx context.Context) (*clientv3.Client, error)
	untold  untold
	login   func(g glass) string
}

func (w glassWay) take(ctx context.Context, name, file string, by events.Act) (brokenGlass, error) {
	version, unchecked, err := w.versionInUse(ctx, name)
	if err != nil {
		return brokenGlass{}, err
	}
	out, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return brokenGlass{}, fmt.Errorf("break glass: %w", err)
	}
	taken, err := w.handOut(ctx, name, version, by, out)
	if err != nil {
		return brokenGlass{}, errors.Join(fmt.Errorf("break glass: %w", err), out.Close(), os.Remove(file))
	}
	taken.File, taken.Unchecked = file, unchecked
	return taken, out.Close()
}

func (w glassWay) handOut(ctx context.Context, name string, version int64, by events.Act, out io.Writer) (taken brokenGlass, err error) {
	glass, err := w.user(ctx)
	if err != nil {
		return taken, err
	}
	taken = brokenGlass{Name: name, User: glass.user, ExpiresAt: glass.expires.UTC(), Act: by}
	event, err := events.New(events.Origin{Region: events.RegionA, Service: "operator"}, by.At, events.CredentialBreakGlass{
		Credential: events.Credential{Name: name, Kind: events.CredentialDatabase, Version: version, Path: "ofitec/credentials/" + name, Fingerprint: glass.fingerprint},
		Act:        by, ExpiresAt: taken.ExpiresAt,
	})
	if err == nil {
		taken.Announced, err = w.announce(ctx, event)
	}
	if err == nil {
		_, err = io.WriteString(out, w.login(glass))
	}
	if err != nil {
		return taken, errors.Join(err, glass.giveBack(ctx))
	}
	return taken, nil
}

// versionInUse is what the event names; 1 when nothing is known. A credential that is no database login has no user to be taken. While etcd is away nobody knows
// that, and a user is taken all the same: Vault's role gives the application's in any case.
func (w glassWay) versionInUse(ctx context.Context, name string) (version int64, unchecked string, err error) {
	if !events.IsToken(name) {
		return 0, "", wrongUse{fmt.Errorf("credential %q: want a name such as odoo-app", name)}
	}
	all, err := w.known(ctx)
	if err != nil {
		return 1, fmt.Sprintf("whether %s is the application's credential, and which of its versions is in use (the event says 1): %v", name, err), nil
	}
	version, err = all.inUse(name)
	return version, "", err
}

func (all rotatedAll) inUse(name string) (int64, error) {
	one, err := all.find(name)
	switch {
	case err != nil && len(all) == 0:
		return 1, nil // the rotator has never run
	case err != nil:
		return 0, err
	case one.Method != events.CredentialDatabase:
		return 0, wrongUse{fmt.Errorf("credential %q is of kind %s: break-glass gives users of the database, as for odoo-app", name, one.Method)}
	}
	version, deployed := int64(1), false
	for _, v := range one.Versions {
		if v.Stage == state.StageCurrent {
			version = v.Number
		}
		deployed = deployed || v.Lease == "" || len(v.Asked)+len(v.Deployed) > 0 // or that of the first start
	}
	if !deployed {
		return 0, wrongUse{fmt.Errorf("credential %q: no deployer brings it to Odoo, so that its users are not the application's: break-glass gives those, as for odoo-app", name)}
	}
	return version, nil
}

// announce brings the event to the bus; when that is away, to etcd, where the rotator's outbox takes it up; when that is away too, into the operator's folder.
func (w glassWay) announce(ctx context.Context, event events.Event) (string, error) {
	place, err := w.bring(ctx, event)
	if err == nil {
		return place, nil
	}
	file, keepErr := w.untold.keep(event)
	if keepErr != nil {
		return "", fmt.Errorf("announce: %w; nor can it be kept until they are back: %w: nobody would know", err, keepErr)
	}
	return fmt.Sprintf("nowhere yet (%s): it stands in %s; when they are back, bring it there by ofitec credentials tell;", strings.ReplaceAll(err.Error(), "\n", "; "), file), nil
}

// bring is announce where something is there.
func (w glassWay) bring(ctx context.Context, event events.Event) (string, error) {
	asking, cancel := context.WithTimeout(ctx, busAnswer)
	busErr := w.publish(asking, event)
	cancel()
	if busErr == nil {
		return "on the bus", nil
	}
	client, etcdErr := w.etcd(ctx)
	if etcdErr != nil {
		return "", errors.Join(busErr, etcdErr)
	}
	defer func() { _ = client.Close() }()
	put, encodeErr := etcd.NewOutbox(client, events.ServiceRotator).Announce(event)
	if encodeErr != nil {
		return "", encodeErr
	}
	asking, cancel = context.WithTimeout(ctx, etcdAnswer)
	defer cancel()
	if _, putErr := client.Txn(asking).Then(put).Commit(); putErr != nil {
		return "", fmt.Errorf("the bus says %w and etcd %w", busErr, putErr)
	}
	return "in etcd until the bus is back", nil
}

// busAnswer is how long the bus may take to store an event.
const busAnswer = 5 * time.Second

func (o *operator) publish(ctx context.Context, event events.Event) error {
	conn, js, err := o.nats()
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = bus.NewJetStream(js, nil).Publish(ctx, event)
	return err
}

// loginFile is what libpq reads from the environment: both regions' proxies, the one that leads to the writable side is taken.
func (o *operator) loginFile(g glass) string {
	hosts, ports := []string{}, []string{}
	for _, r := range layout.DataRegions {
		hosts, ports = append(hosts, o.layout.Addressing.Region[r]), append(ports, fmt.Sprint(layout.PortDatabaseProxy))
	}
	return fmt.Sprintf("PGHOST=%s\nPGPORT=%s\nPGDATABASE=ofitec_prod\nPGUSER='%s'\nPGPASSWORD='%s'\nPGTARGETSESSIONATTRS=read-write\nPGSSLMODE=verify-full\nPGSSLROOTCERT='%s'\n",
		strings.Join(hosts, ","), strings.Join(ports, ","), g.user, g.password, filepath.Join(o.layout.OperatorIdentityDir(), "ca.crt"))
}
