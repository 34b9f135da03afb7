// Package route53 keeps the public name in a hosted zone of Amazon Route 53 (protocol.md, DNS).
package route53

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/dns"
)

// Options say which zone and who asks.
type Options struct {
	ZoneID      string
	Credentials string         // file in the syntax of AWS's shared credentials, read at each request
	Authority   *dns.Authority // answers for the zone
	URL         string         // of the API; Amazon's when empty
}

// Zone is a hosted zone. It is safe for concurrent use.
type Zone struct {
	*dns.Authority
	id     string
	client *route53.Client
}

var _ dns.Provider = (*Zone)(nil)

// New does not connect. The SDK is not to try anything twice: who calls does.
func New(o Options) *Zone {
	options := route53.Options{
		Region: "us-east-1", // Route 53 is signed for there, from wherever
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return readCredentials(o.Credentials)
		}),
		Retryer:    aws.NopRetryer{},
		HTTPClient: &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}
	if o.URL != "" {
		options.BaseEndpoint = aws.String(o.URL)
	}
	return &Zone{o.Authority, o.ZoneID, route53.New(options)}
}

// ttl of the epoch's record: nobody but the authoritative servers is asked for it.
const ttl = 30

// Set implements dns.Provider. It is one ChangeBatch, of which all or nothing is done: it deletes the TXT that was read, to the letter, and creates the new one. Whoever
// has written in between has made that TXT another, and then nothing of it is done.
func (z *Zone) Set(ctx context.Context, r dns.Record) error {
	if net.ParseIP(r.Address).To4() == nil {
		return fmt.Errorf("set %s: address %q is not IPv4", r.Name, r.Address)
	}
	name, beside := fqdn(r.Name), dns.EpochName(fqdn(r.Name))
	old, err := z.read(ctx, beside, types.RRTypeTxt)
	if err != nil {
		return fmt.Errorf("set %s: %w", r.Name, err)
	}
	address, err := z.read(ctx, name, types.RRTypeA)
	if err != nil {
		return fmt.Errorf("set %s: %w", r.Name, err)
	}
	seen, err := highest(r.Name, old)
	switch {
	case err != nil:
		return fmt.Errorf("set %s: %w", r.Name, err)
	case r.Epoch < seen:
		return fmt.Errorf("set %s: %w", r.Name, &dns.SmallerError{Asked: r.Epoch, Seen: seen})
	case old != nil && len(old.ResourceRecords) == 1 && seen == r.Epoch && holds(address, r):
		return nil
	}
	var changes []types.Change
	if old != nil {
		changes = append(changes, types.Change{Action: types.ChangeActionDelete, ResourceRecordSet: old})
	}
	changes = append(changes,
		types.Change{Action: types.ChangeActionCreate, ResourceRecordSet: recordSet(beside, types.RRTypeTxt, strconv.Quote(strconv.FormatUint(uint64(r.Epoch), 10)), ttl)},
		types.Change{Action: types.ChangeActionUpsert, ResourceRecordSet: recordSet(name, types.RRTypeA, r.Address, int64(r.TTL/time.Second))})
	_, err = z.client.ChangeResourceRecordSets(ctx, &route53.ChangeResourceRecordSetsInput{
		HostedZoneId: &z.id, ChangeBatch: &types.ChangeBatch{Changes: changes, Comment: aws.String("ofitec failover, epoch " + strconv.FormatUint(uint64(r.Epoch), 10))},
	})
	if err != nil {
		return fmt.Errorf("set %s: %w", r.Name, plain(err))
	}
	return nil
}

// read gives the record set as it stands, changes that the name servers do not have yet included; nil when there is none.
func (z *Zone) read(ctx context.Context, name string, kind types.RRType) (*types.ResourceRecordSet, error) {
	answer, err := z.client.ListResourceRecordSets(ctx, &route53.ListResourceRecordSetsInput{
		HostedZoneId: &z.id, StartRecordName: &name, StartRecordType: kind, MaxItems: aws.Int32(1),
	})
	if err != nil {
		return nil, fmt.Errorf("list %s %s: %w", name, kind, plain(err))
	}
	for _, set := range answer.ResourceRecordSets { // the listing goes on with the next name where there is none
		if strings.EqualFold(aws.ToString(set.Name), name) && set.Type == kind {
			if set.SetIdentifier != nil || set.AliasTarget != nil {
				return nil, fmt.Errorf("list %s %s: it is an alias or has a routing policy, want a simple record", name, kind)
			}
			return &set, nil
		}
	}
	return nil, nil
}

func highest(name string, set *types.ResourceRecordSet) (events.Epoch, error) {
	var seen events.Epoch
	if set == nil {
		return 0, nil
	}
	for _, value := range set.ResourceRecords {
		epoch, err := dns.ParseEpoch(name, strings.Trim(aws.ToString(value.Value), `"`))
		if err != nil {
			return 0, err
		}
		seen = max(seen, epoch)
	}
	return seen, nil
}

func holds(set *types.ResourceRecordSet, r dns.Record) bool {
	return set != nil && len(set.ResourceRecords) == 1 && aws.ToString(set.ResourceRecords[0].Value) == r.Address && aws.ToInt64(set.TTL) == int64(r.TTL/time.Second)
}

func recordSet(name string, kind types.RRType, value string, ttl int64) *types.ResourceRecordSet {
	return &types.ResourceRecordSet{Name: &name, Type: kind, TTL: &ttl, ResourceRecords: []types.ResourceRecord{{Value: &value}}}
}

func fqdn(name string) string { return strings.TrimSuffix(name, ".") + "." }

// plain tells a refused comparison and a full queue from the rest. InvalidChangeBatch is also said of a value that can never be right, which no repetition helps.
func plain(err error) error {
	var refused *types.InvalidChangeBatch
	if errors.As(err, &refused) {
		text := strings.Join(append([]string{aws.ToString(refused.Message)}, refused.Messages...), "; ")
		for _, compared := range []string{"but it was not found", "do not match the current values", "but it already exists"} {
			if strings.Contains(text, compared) {
				return fmt.Errorf("%w (%s)", dns.ErrChanged, text)
			}
		}
		return fmt.Errorf("route 53 refuses: %s", text)
	}
	var answer smithy.APIError
	if !errors.As(err, &answer) {
		return err
	}
	switch answer.ErrorCode() {
	case "Throttling", "ThrottlingException", "RequestLimitExceeded", "PriorRequestNotComplete", "ServiceUnavailable":
		return fmt.Errorf("route 53 answers %s: %w", answer.ErrorCode(), &dns.BusyError{Provider: "route 53", For: restAfterThrottling})
	}
	status := 0
	if response, ok := errors.AsType[*smithyhttp.ResponseError](err); ok {
		status = response.HTTPStatusCode()
	}
	return fmt.Errorf("route 53 answers %d %s: %s", status, answer.ErrorCode(), answer.ErrorMessage())
}

// restAfterThrottling is short: five requests a second are an account's, and others share them.
const restAfterThrottling = 2 * time.Second
