package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/events/state"
)

// credentialView is one credential in `ofitec credentials list -o json` and `show`. The version in use stands at the top; a number that is not known is null.
type credentialView struct {
	Name         string                 `json:"name"`
	Kind         events.CredentialKind  `json:"kind"`
	Version      int64                  `json:"version"`
	Stage        state.Stage            `json:"stage"`
	User         string                 `json:"user"`
	Age          float64                `json:"age_seconds"`
	TTLLeft      *float64               `json:"ttl_left_seconds"`
	MaxTTLLeft   *float64               `json:"max_ttl_left_seconds"`
	NextRotation *time.Time             `json:"next_rotation_at"`
	Alarm        string                 `json:"alarm,omitempty"`
	UnderWay     *versionView           `json:"under_way,omitempty"` // a version on its way to use
	Versions     []versionView          `json:"versions"`            // oldest first
	Regions      map[string]rolloutView `json:"regions"`
}

type versionView struct {
	Version    int64       `json:"version"`
	Stage      state.Stage `json:"stage"`
	User       string      `json:"user"`
	Made       time.Time   `json:"made_at"`
	Age        float64     `json:"age_seconds"`
	TTLLeft    *float64    `json:"ttl_left_seconds"`
	MaxTTLLeft *float64    `json:"max_ttl_left_seconds"`
	Renewals   int64       `json:"renewals"`
	Trigger    string      `json:"trigger,omitempty"`
	Act        *events.Act `json:"act,omitempty"`
	Deployed   []string    `json:"deployed"`
	RolledBack []string    `json:"rolled_back"`
	Cause      string      `json:"cause,omitempty"`
	Reason     string      `json:"reason,omitempty"`
}

// rolloutView is a region's last rollout.
type rolloutView struct {
	Version int64                 `json:"version"`
	Phase   state.DeploymentPhase `json:"phase"`
	Hot     state.Colour          `json:"hot"`
	Since   time.Time             `json:"since"`
	Reason  string                `json:"reason,omitempty"`

	Started    *time.Time `json:"started_at,omitempty"`
	WatchFrom  *time.Time `json:"watch_from,omitempty"`
	WatchUntil *time.Time `json:"watch_until,omitempty"` // the gate's window; of the last step when the traffic comes in several
	Switched   *time.Time `json:"switched_at,omitempty"`
	Ended      *time.Time `json:"ended_at,omitempty"`
}

// onItsWay says that a version is between its birth and the verdict.
func onItsWay(v state.CredentialVersion) bool {
	return slices.Contains([]state.Stage{state.StageMinted, state.StageTested, state.StageStaged, state.StageCanary}, v.Stage)
}

func viewsOf(all rotatedAll, now time.Time) []credentialView {
	views := []credentialView{}
	for _, one := range all {
		views = append(views, viewOf(one, now))
	}
	return views
}

func viewOf(one rotated, now time.Time) credentialView {
	view := credentialView{Name: one.Name, Kind: one.Method, NextRotation: one.NextAt, Alarm: one.Alarm, Versions: []versionView{}, Regions: map[string]rolloutView{}}
	for _, v := range one.Versions {
		shown := versionOf(v, now)
		view.Versions = append(view.Versions, shown)
		if v.Stage == state.StageCurrent {
			view.Version, view.Stage, view.User, view.Age, view.TTLLeft, view.MaxTTLLeft = v.Number, v.Stage, shown.User, shown.Age, shown.TTLLeft, shown.MaxTTLLeft
		}
		if onItsWay(v) {
			view.UnderWay = &shown
		}
	}
	for region, rollout := range one.rollouts {
		view.Regions[string(region)] = rolloutView{
			rollout.Number, rollout.Phase, rollout.Hot, rollout.Since, rollout.Reason, rollout.Started, rollout.WatchFrom, rollout.WatchUntil, rollout.SwitchedAt, rollout.Ended,
		}
	}
	return view
}

func versionOf(v state.CredentialVersion, now time.Time) versionView {
	shown := versionView{
		Version: v.Number, Stage: v.Stage, User: v.User, Made: v.MintedAt, Age: seconds(now.Sub(v.MintedAt)), Renewals: v.Renewals, Trigger: v.Trigger, Act: v.Act,
		Deployed: names(v.Deployed), RolledBack: names(v.RolledBack), Cause: v.Cause, Reason: v.Reason,
	}
	if v.Lease != "" && v.Stage != state.StageRevoked {
		ttl, most := seconds(max(v.ExpiresAt.Sub(now), 0)), seconds(max(v.DeadlineAt.Sub(now), 0))
		shown.TTLLeft, shown.MaxTTLLeft = &ttl, &most
	}
	return shown
}

func names(regions []events.Region) []string {
	texts := []string{}
	for _, r := range regions {
		texts = append(texts, string(r))
	}
	return texts
}

func printCredentials(w io.Writer, views []credentialView) error {
	if len(views) == 0 {
		_, err := fmt.Fprintln(w, "no credential is rotated yet; the rotator takes the first one over when Vault is there")
		return err
	}
	table := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "name\tkind\tversion\tstage\tuser\tage\tttl left\tmax_ttl left\tnext rotation\tregion a\tregion b")
	for _, v := range views {
		_, _ = fmt.Fprintf(table, "%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", v.Name, v.Kind, v.Version, or(string(v.Stage), "-"), or(v.User, "(the first start's)"),
			span(&v.Age), span(v.TTLLeft), span(v.MaxTTLLeft), clockTime(v.NextRotation), v.in("a"), v.in("b"))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, v := range views {
		if v.UnderWay != nil {
			_, _ = fmt.Fprintf(w, "%s: version %d is on its way: %s\n", v.Name, v.UnderWay.Version, v.UnderWay.Stage)
		}
		if v.Alarm != "" {
			_, _ = fmt.Fprintf(w, "%s: ALARM %s: the version in use nears its end and no successor is in sight\n", v.Name, v.Alarm)
		}
	}
	return nil
}

func printCredential(w io.Writer, v credentialView) error {
	if err := printCredentials(w, []credentialView{v}); err != nil {
		return err
	}
	table := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "\nversion\tstage\tuser\tmade\tttl left\trenewals\ttrigger\tdeployed\trolled back\twhy")
	for _, one := range v.Versions {
		why := or(one.Reason, one.Cause)
		if one.Act != nil {
			why = strings.TrimPrefix(why+"; asked for by "+one.Act.Actor+": "+one.Act.Reason, "; ")
		}
		_, _ = fmt.Fprintf(table, "%d\t%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\t%s\n", one.Version, one.Stage, or(one.User, "-"), one.Made.Local().Format(time.DateTime), span(one.TTLLeft), one.Renewals,
			or(one.Trigger, "-"), or(strings.Join(one.Deployed, ","), "-"), or(strings.Join(one.RolledBack, ","), "-"), why)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, region := range events.DataRegions {
		if r, ok := v.Regions[string(region)]; ok && r.Reason != "" {
			_, _ = fmt.Fprintf(w, "region %s: %s\n", region, r.Reason)
		}
	}
	return nil
}

// in is a region's last rollout in few words.
func (v credentialView) in(region string) string {
	r, ok := v.Regions[region]
	if !ok {
		return "none yet"
	}
	return fmt.Sprintf("%d %s on %s", r.Version, r.Phase, r.Hot)
}

// span is a number of seconds for people.
func span(seconds *float64) string {
	if seconds == nil {
		return "-"
	}
	return time.Duration(*seconds * float64(time.Second)).Round(time.Second).String()
}
