package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"github.com/ofitec/ofitec/events"
)

// untold is the folder of facts that could be announced nowhere; it need not be there.
type untold string

// keep stores a fact durably before anybody acts on it.
func (u untold) keep(event events.Event) (file string, err error) {
	content, err := event.Encode()
	if err != nil {
		return "", fmt.Errorf("keep event: %w", err)
	}
	if err := os.MkdirAll(string(u), 0o700); err != nil {
		return "", fmt.Errorf("keep event: %w", err)
	}
	file = filepath.Join(string(u), event.ID+".json")
	out, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return "", fmt.Errorf("keep event: %w", err)
	}
	_, err = out.Write(content)
	if err = errors.Join(err, out.Sync(), out.Close(), syncFolder(string(u)), syncFolder(filepath.Dir(string(u)))); err != nil {
		return "", errors.Join(fmt.Errorf("keep event: %w", err), os.Remove(file))
	}
	return file, nil
}

// syncFolder makes names durable: a file that is synced can still be in no folder after a power cut.
func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// toldFact is one that was brought.
type toldFact struct {
	Request   string `json:"request"`
	Actor     string `json:"actor"`
	Announced string `json:"announced"`
}

// keptFact is one that waits.
type keptFact struct {
	file  string
	event events.Event
	fact  events.CredentialBreakGlass
}

// waiting reads what is kept, in the order in which it happened. What cannot be read is said, and stays.
func (u untold) waiting() (all []keptFact, err error) {
	files, _ := filepath.Glob(filepath.Join(string(u), "*.json")) // the pattern is well formed
	for _, file := range files {
		kept, problem := readKept(file)
		if problem != nil {
			err = errors.Join(err, fmt.Errorf("tell %s: %w", file, problem))
			continue
		}
		all = append(all, kept)
	}
	slices.SortStableFunc(all, func(a, b keptFact) int { return a.event.Time.Compare(b.event.Time) })
	return all, err
}

func readKept(file string) (keptFact, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return keptFact{}, err
	}
	event, err := events.Decode(content)
	if err != nil {
		return keptFact{}, err
	}
	fact, err := events.PayloadOf[events.CredentialBreakGlass](event)
	return keptFact{file, event, fact}, err
}

// tell brings what is kept to the bus or to etcd, the oldest first. One that cannot be read or brought is said, and stays; the others go on.
func (w glassWay) tell(ctx context.Context) (told []toldFact, err error) {
	kept, err := w.untold.waiting()
	for _, one := range kept {
		place, problem := w.bring(ctx, one.event)
		if problem == nil {
			problem = os.Remove(one.file) // its id is the same when it is told twice
		}
		if problem != nil {
			err = errors.Join(err, fmt.Errorf("tell %s: %w", one.file, problem))
			continue
		}
		told = append(told, toldFact{one.fact.Act.Request, one.fact.Act.Actor, place})
	}
	return told, err
}

func newCredentialsTell() *cobra.Command {
	command := &cobra.Command{
		Use: "tell", Short: "Bring to the audit trail who broke the glass while bus and etcd were away", Args: cobra.NoArgs,
		Long: "Bring to the audit trail who broke the glass while bus and etcd were away.\n\nbreak-glass keeps that in the operator's folder when it can be announced nowhere, and says so.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withOperator(cmd, func(ctx context.Context, o *operator, inJSON bool) error {
				told, err := o.glassWay().tell(ctx)
				if inJSON {
					if told == nil {
						told = []toldFact{}
					}
					return errors.Join(writeJSON(cmd.OutOrStdout(), told), err)
				}
				if len(told) == 0 && err == nil {
					_, err = fmt.Fprintln(cmd.OutOrStdout(), "nothing waits")
				}
				for _, fact := range told {
					fmt.Fprintf(cmd.OutOrStdout(), "request %s by %s: announced %s\n", fact.Request, fact.Actor, fact.Announced)
				}
				return err
			})
		},
	}
	outputFlag(command)
	return command
}
