// Package webhook decides whether an announcement by Odoo is what it says. It does no I/O.
//
// Odoo signs with a secret that it shares with etl-ingest: X-Ofitec-Signature: t=<seconds since 1970>,v1=<hex of HMAC-SHA256 over "<t>.<body>">. While a secret is being replaced,
// two are good at the same time, and a sender may also send two v1.
package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Header carries the signature.
const Header = "X-Ofitec-Signature"

// Tolerance is how far the sender's clock may be from ours. An announcement that is sent again within it does no harm: it only makes a pull.
const Tolerance = 5 * time.Minute

// ErrUnsigned is wrapped when an announcement is not taken for Odoo's. Nothing tells its sender how far it came.
var ErrUnsigned = errors.New("the signature is not good")

// Verify checks the header's signature of a body. Empty secrets are none.
func Verify(header string, body []byte, secrets []string, now time.Time) error {
	var at string
	var given [][]byte
	for _, part := range strings.Split(header, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch name {
		case "t":
			at = value
		case "v1":
			if sum, err := hex.DecodeString(value); err == nil {
				given = append(given, sum)
			}
		}
	}
	seconds, err := strconv.ParseInt(at, 10, 64)
	if err != nil || len(given) == 0 {
		return fmt.Errorf("%w: want %s: t=<seconds since 1970>,v1=<HMAC-SHA256>", ErrUnsigned, Header)
	}
	good := false
	for _, secret := range secrets {
		if secret == "" {
			continue
		}
		want := sum(secret, at, body)
		for _, got := range given {
			good = hmac.Equal(got, want) || good
		}
	}
	if !good {
		return ErrUnsigned
	}
	if age := now.Sub(time.Unix(seconds, 0)); age.Abs() > Tolerance {
		return fmt.Errorf("%w: it is %s old, or the clocks differ: at most %s is allowed", ErrUnsigned, age.Round(time.Second), Tolerance)
	}
	return nil
}

// Sign is what a sender puts into the header.
func Sign(body []byte, secret string, now time.Time) string {
	at := strconv.FormatInt(now.Unix(), 10)
	return "t=" + at + ",v1=" + hex.EncodeToString(sum(secret, at, body))
}

func sum(secret, at string, body []byte) []byte {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(at + "."))
	mac.Write(body)
	return mac.Sum(nil)
}

// Announcement is the body.
type Announcement struct {
	Dataset  string   `json:"dataset"`
	Datasets []string `json:"datasets"`
}

// Read reads a body: {"dataset":"invoice"}, {"datasets":["invoice","payment"]}, or "all" in place of a name. The error names what is wrong.
func Read(body []byte, known []string) (datasets []string, err error) {
	var a Announcement
	if err := json.Unmarshal(body, &a); err != nil {
		return nil, errors.New(`the body is not JSON: want {"dataset":"invoice"}`)
	}
	asked := a.Datasets
	if a.Dataset != "" {
		asked = append(asked, a.Dataset)
	}
	if len(asked) == 0 {
		return nil, errors.New(`dataset is missing: want {"dataset":"invoice"}, or "all"`)
	}
	for _, name := range asked {
		switch {
		case name == "all":
			return known, nil
		case !has(known, name):
			return nil, fmt.Errorf("dataset %.64q is not one of %s", name, strings.Join(known, ", "))
		}
		datasets = append(datasets, name)
	}
	return datasets, nil
}

func has(known []string, name string) bool {
	for _, k := range known {
		if k == name {
			return true
		}
	}
	return false
}
