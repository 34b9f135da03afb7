package cloudflare

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ofitec/ofitec/services/failover-arbiter/internal/dns/dnstest"
)

const (
	zoneID = "023e105f4ecef8ad9ca31a8372d0c353"
	token  = "Sn3lZJTBX6kkg7OdcBUAxOO963GEIyGQqnFTOFYY"
)

// zone answers as the API's reference and recorded calls have it. A batch is done to a copy, which takes the zone's place when nothing failed.
type zone struct {
	server *dnstest.Server
	url    string

	mu      sync.Mutex
	records map[string]record
	made    int
	writes  int
	half    bool                                              // a batch stops before its posts, and says that all is done
	swallow bool                                              // a batch does nothing, and says that all is done
	fail    func(w http.ResponseWriter, r *http.Request) bool // answers in its place
	between func()                                            // runs before the next batch, once
}

func zoneAt(t *testing.T) *zone {
	t.Helper()
	z := &zone{server: dnstest.Serve(t), records: map[string]record{}}
	server := httptest.NewServer(z)
	t.Cleanup(server.Close)
	z.url = server.URL
	return z
}

func refuse(w http.ResponseWriter, status int, errors string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"result":null,"success":false,"errors":[%s],"messages":[]}`, errors)
}

func accept(w http.ResponseWriter, result any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"result": result, "success": true, "errors": []any{}, "messages": []any{}})
}

func (z *zone) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	z.mu.Lock()
	fail, between := z.fail, z.between
	if r.Method == http.MethodPost {
		z.between = nil
	}
	z.mu.Unlock()
	switch {
	case fail != nil && fail(w, r):
	case r.Header.Get("Authorization") != "Bearer "+token:
		refuse(w, http.StatusForbidden, `{"code":9109,"message":"Invalid access token"}`)
	case !strings.HasPrefix(r.URL.Path, "/zones/"+zoneID+"/dns_records"):
		refuse(w, http.StatusNotFound, `{"code":7003,"message":"Could not route to `+r.URL.Path+`, perhaps your object identifier is invalid?"}`)
	case r.Method == http.MethodGet:
		z.list(w, r.URL.Query().Get("name"), r.URL.Query().Get("type"))
	default:
		if between != nil {
			between()
		}
		var b batch
		if err := json.NewDecoder(r.Body).Decode(&b); err != nil {
			refuse(w, http.StatusBadRequest, `{"code":9207,"message":"Request body is invalid."}`)
			return
		}
		z.batch(w, b)
	}
}

func (z *zone) list(w http.ResponseWriter, name, kind string) {
	z.mu.Lock()
	defer z.mu.Unlock()
	found := []record{}
	for _, id := range slices.Sorted(maps.Keys(z.records)) {
		if r := z.records[id]; strings.EqualFold(r.Name, name) && r.Type == kind {
			found = append(found, r)
		}
	}
	accept(w, found)
}

func (z *zone) batch(w http.ResponseWriter, b batch) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.writes++
	records := maps.Clone(z.records)
	gone := func(id string) bool {
		_, found := records[id]
		if !found {
			refuse(w, http.StatusNotFound, `{"code":81044,"message":"Record does not exist."}`)
		}
		return !found
	}
	for _, d := range b.Deletes {
		if gone(d.ID) {
			return
		}
		delete(records, d.ID)
	}
	for _, r := range b.Puts {
		if gone(r.ID) || z.invalid(w, records, r) {
			return
		}
		records[r.ID] = r
	}
	for _, r := range b.Posts {
		if z.half {
			break
		}
		if z.invalid(w, records, r) {
			return
		}
		z.made++
		r.ID = fmt.Sprintf("%032x", z.made)
		records[r.ID] = r
	}
	if !z.swallow {
		z.records = records
		z.publish()
	}
	accept(w, b)
}

// invalid refuses what the API does.
func (z *zone) invalid(w http.ResponseWriter, records map[string]record, r record) bool {
	switch {
	case r.TTL != 1 && (r.TTL < 30 || r.TTL > 86400): // an Enterprise zone
		refuse(w, http.StatusBadRequest, `{"code":1004,"message":"DNS Validation Error","error_chain":[{"code":9021,"message":"TTL must be between 60 and 86400 seconds, or 1 for Automatic."}]}`)
		return true
	case r.ID == "" && slices.ContainsFunc(slices.Collect(maps.Values(records)), func(o record) bool { return o.Type == r.Type && o.Name == r.Name && o.Content == r.Content }):
		refuse(w, http.StatusBadRequest, `{"code":81058,"message":"An identical record already exists."}`)
		return true
	}
	return false
}

// publish lets the name servers answer with what the zone holds; the caller holds the lock.
func (z *zone) publish() {
	values, ttl := map[string][]string{}, map[string]int{}
	for _, r := range z.records {
		key := r.Name + " " + r.Type
		values[key], ttl[key] = append(values[key], r.Content), r.TTL
	}
	for _, name := range []string{dnstest.Name, "_epoch." + dnstest.Name} {
		for _, kind := range []string{"A", "TXT"} {
			z.server.Hold(name, kind, ttl[name+" "+kind], values[name+" "+kind]...)
		}
	}
}

// put places a record as somebody else would, in the zone's console for instance.
func (z *zone) put(r record) {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.made++
	r.ID = fmt.Sprintf("%032x", z.made)
	z.records[r.ID] = r
	z.publish()
}
