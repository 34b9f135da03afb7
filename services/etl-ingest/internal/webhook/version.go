package webhook

import "time"

// Version is one version of the secret, as it is kept where it is rotated.
type Version struct {
	Number int64
	Text   string
	Made   time.Time
}

// Good are the secrets that an announcement may be signed with: the newest version, and the one before it for as long after the newest was made as whoever signs may take
// to get it. What is not there is left out.
func Good(newest, before Version, overlap time.Duration, now time.Time) []string {
	var good []string
	if newest.Text != "" {
		good = append(good, newest.Text)
	}
	if before.Text != "" && now.Before(newest.Made.Add(overlap)) {
		good = append(good, before.Text)
	}
	return good
}
