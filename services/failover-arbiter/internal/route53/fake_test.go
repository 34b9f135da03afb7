package route53

import (
	"cmp"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ofitec/ofitec/events"
	"github.com/ofitec/ofitec/services/failover-arbiter/internal/dns/dnstest"
)

const (
	zoneID = "Z1D633PJN98FT9"
	keyID  = "AKIDEXAMPLE"
	secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
	spaces = `xmlns="https://route53.amazonaws.com/doc/2013-04-01/"`
)

// recordSets is a hosted zone as Route 53 keeps one: the API's answers are those of its reference and of recorded calls. A batch is done to a copy, which takes
// the zone's place when nothing was refused. Name servers learn of it later, when they are told to.
type recordSets struct {
	server *dnstest.Server
	url    string

	mu      sync.Mutex
	sets    map[string]set
	lag     bool // the name servers learn nothing
	half    bool // the name servers learn of addresses only
	swallow bool // says INSYNC or PENDING and does nothing
	writes  int
	fail    func(w http.ResponseWriter, r *http.Request) bool // answers in its place
	between func()                                            // runs before the next batch, once
}

type set struct {
	Name   string
	Type   string
	TTL    int64
	Values []string `xml:"ResourceRecords>ResourceRecord>Value"`
}

type change struct {
	Action string
	Set    set `xml:"ResourceRecordSet"`
}

func (s set) key() string { return strings.ToLower(s.Name) + " " + s.Type }

func (s set) same(o set) bool {
	mine, others := slices.Sorted(slices.Values(s.Values)), slices.Sorted(slices.Values(o.Values))
	return s.TTL == o.TTL && slices.Equal(mine, others)
}

func hostedZoneAt(t *testing.T) *recordSets {
	t.Helper()
	z := &recordSets{server: dnstest.Serve(t), sets: map[string]set{}}
	server := httptest.NewServer(z)
	t.Cleanup(server.Close)
	z.url = server.URL
	return z
}

func problem(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "text/xml")
	w.Header().Set("x-amzn-RequestId", "7eb28fd5-9ce6-11e4-a8e8-9f105805808f")
	w.WriteHeader(status)
	fmt.Fprintf(w, `<?xml version="1.0"?>`+"\n"+`<ErrorResponse %s><Error><Type>Sender</Type><Code>%s</Code><Message>%s</Message></Error><RequestId>7eb28fd5-9ce6-11e4-a8e8-9f105805808f</RequestId></ErrorResponse>`,
		spaces, code, message)
}

func (z *recordSets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if z.fail != nil && z.fail(w, r) {
		return
	}
	if !strings.Contains(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential="+keyID+"/") || !strings.Contains(r.Header.Get("Authorization"), "/us-east-1/route53/aws4_request") {
		problem(w, http.StatusForbidden, "InvalidClientTokenId", "The security token included in the request is invalid")
		return
	}
	if !strings.HasPrefix(r.URL.Path, "/2013-04-01/hostedzone/"+zoneID+"/rrset") {
		problem(w, http.StatusNotFound, "NoSuchHostedZone", "No hosted zone found with ID: "+r.URL.Path)
		return
	}
	if r.Method == http.MethodGet {
		z.list(w, r.URL.Query().Get("name"), r.URL.Query().Get("type"))
		return
	}
	body, err := io.ReadAll(r.Body)
	var asked struct {
		Changes []change `xml:"ChangeBatch>Changes>Change"`
	}
	if err == nil {
		err = xml.Unmarshal(body, &asked)
	}
	if err != nil || len(asked.Changes) == 0 {
		problem(w, http.StatusBadRequest, "InvalidInput", "Invalid XML ; javax.xml.stream.XMLStreamException")
		return
	}
	if between := z.between; between != nil {
		z.between = nil
		between()
	}
	z.change(w, asked.Changes)
}

// list goes on after the asked name, by its labels from the right.
func (z *recordSets) list(w http.ResponseWriter, name, kind string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	reversed := func(name string) string {
		labels := strings.Split(strings.ToLower(name), ".")
		slices.Reverse(labels)
		return strings.Join(labels, ".")
	}
	order := func(a, b set) int {
		return cmp.Or(cmp.Compare(reversed(a.Name), reversed(b.Name)), cmp.Compare(a.Type, b.Type))
	}
	from := set{Name: name, Type: kind}
	listed := slices.DeleteFunc(slices.SortedFunc(maps.Values(z.sets), order), func(s set) bool { return order(s, from) < 0 })
	fmt.Fprintf(w, `<?xml version="1.0"?>`+"\n"+`<ListResourceRecordSetsResponse %s><ResourceRecordSets>`, spaces)
	for _, s := range listed[:min(1, len(listed))] {
		fmt.Fprintf(w, `<ResourceRecordSet><Name>%s</Name><Type>%s</Type><TTL>%d</TTL><ResourceRecords>`, s.Name, s.Type, s.TTL)
		for _, value := range s.Values {
			fmt.Fprint(w, `<ResourceRecord><Value>`)
			_ = xml.EscapeText(w, []byte(value))
			fmt.Fprint(w, `</Value></ResourceRecord>`)
		}
		fmt.Fprint(w, `</ResourceRecords></ResourceRecordSet>`)
	}
	fmt.Fprintf(w, `</ResourceRecordSets><IsTruncated>%t</IsTruncated><MaxItems>1</MaxItems></ListResourceRecordSetsResponse>`, len(listed) > 1)
}

func (z *recordSets) change(w http.ResponseWriter, changes []change) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.writes++
	sets := maps.Clone(z.sets)
	for _, c := range changes {
		if why := apply(sets, c); why != "" {
			problem(w, http.StatusBadRequest, "InvalidChangeBatch", "["+why+"]")
			return
		}
	}
	if !z.swallow {
		z.sets = sets
		if !z.lag {
			z.publish()
		}
	}
	fmt.Fprintf(w, `<?xml version="1.0"?>`+"\n"+`<ChangeResourceRecordSetsResponse %s><ChangeInfo><Id>/change/C2682N5HXP0BZ4</Id><Status>PENDING</Status><SubmittedAt>2026-11-25T00:00:00.000Z</SubmittedAt></ChangeInfo></ChangeResourceRecordSetsResponse>`, spaces)
}

func apply(sets map[string]set, c change) (why string) {
	old, found := sets[c.Set.key()]
	of := fmt.Sprintf("resource record set [name='%s', type='%s']", c.Set.Name, c.Set.Type)
	switch {
	case c.Action == "DELETE" && !found:
		return "Tried to delete " + of + " but it was not found"
	case c.Action == "DELETE" && !old.same(c.Set):
		return "Tried to delete " + of + " but the values provided do not match the current values"
	case c.Action == "CREATE" && found:
		return "Tried to create " + of + " but it already exists"
	case c.Set.Type == "TXT" && !slices.ContainsFunc(c.Set.Values, func(v string) bool { return strings.HasPrefix(v, `"`) && strings.HasSuffix(v, `"`) }):
		return "Invalid Resource Record: FATAL problem: InvalidCharacterString (Value should be enclosed in quotation marks) encountered with '" + c.Set.Values[0] + "'"
	case c.Action == "DELETE":
		delete(sets, c.Set.key())
	default:
		sets[c.Set.key()] = c.Set
	}
	return ""
}

// publish lets the name servers learn; the caller holds the lock.
func (z *recordSets) publish() {
	for _, s := range z.sets {
		if !z.half || s.Type == "A" {
			z.server.Hold(s.Name, s.Type, int(s.TTL), s.Values...)
		}
	}
}

// epoch is the one that the zone holds.
func (z *recordSets) epoch() events.Epoch {
	z.mu.Lock()
	defer z.mu.Unlock()
	var epoch events.Epoch
	for _, value := range z.sets["_epoch.erp.ofitec.test. TXT"].Values {
		_, _ = fmt.Sscanf(value, "\"%d\"", &epoch)
	}
	return epoch
}
