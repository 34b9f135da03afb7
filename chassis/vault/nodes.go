package vault

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"time"
)

const (
	// dialTimeout bounds the connection and, once more, the handshake; it leaves time within a request's own for the nodes that follow.
	dialTimeout = 1500 * time.Millisecond
	// avoidFor is how long a node that could not serve is asked last.
	avoidFor = 10 * time.Second
	// maxBody bounds what is kept of a request, so that it can be sent to the next node.
	maxBody = 32 << 20
)

// nodes sends each request to the first of Vault's nodes that can take it; a standby hands it to the active one by itself. The client knows the first node only.
//
// A request goes to the next node only when the one asked has certainly not done it: it was not reached, or it said that it is sealed, knows no active node, or cannot
// hand requests to the one it takes for active. A client would follow the last of these to where it points, once, and take a second one for an answer without data.
// After any other failure nobody knows whether, say, a user was made, and the caller is told.
type nodes struct {
	base http.RoundTripper
	urls []*url.URL // the own region's node first; never empty

	mu    sync.Mutex
	avoid map[string]time.Time // until when, by host
	last  string               // host that served the last request
}

func newNodes(base http.RoundTripper, addrs []string) (*nodes, error) {
	n := &nodes{base: base, avoid: map[string]time.Time{}}
	for _, addr := range addrs {
		u, err := url.Parse(addr)
		if err != nil {
			return nil, fmt.Errorf("parse address of Vault: %w", err)
		}
		n.urls = append(n.urls, u)
	}
	return n, nil
}

// RoundTrip implements http.RoundTripper.
func (n *nodes) RoundTrip(request *http.Request) (*http.Response, error) {
	body, err := kept(request)
	if err != nil {
		return nil, err
	}
	var failures []error
	order := n.order()
	for i, node := range order {
		arrival := &arrival{}
		attempt := request.Clone(httptrace.WithClientTrace(request.Context(), arrival.trace()))
		attempt.URL.Scheme, attempt.URL.Host, attempt.Host = node.Scheme, node.Host, node.Host
		if body != nil {
			attempt.Body = io.NopCloser(bytes.NewReader(body))
		}
		response, err := n.base.RoundTrip(attempt)
		if err == nil && !cannotServe(response) {
			n.served(node.Host)
			return response, nil
		}
		if err != nil {
			failures = append(failures, err)
			if request.Context().Err() != nil || arrival.possible() {
				return nil, errors.Join(failures...)
			}
		}
		n.avoided(node.Host)
		if i == len(order)-1 {
			if err == nil {
				return refusing(response), nil
			}
			break
		}
		if err == nil {
			_ = response.Body.Close()
		}
	}
	return nil, errors.Join(failures...)
}

// kept reads a request's body once, for all the nodes that may be asked.
func kept(request *http.Request) ([]byte, error) {
	if request.Body == nil || request.Body == http.NoBody {
		return nil, nil
	}
	defer func() { _ = request.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(request.Body, maxBody+1))
	if err != nil {
		return nil, fmt.Errorf("read request to Vault: %w", err)
	}
	if len(body) > maxBody {
		return nil, fmt.Errorf("send request to Vault: it has more than %d bytes", maxBody)
	}
	return body, nil
}

// order is the nodes as they are to be asked: those that could not serve a moment ago come last.
func (n *nodes) order() []*url.URL {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	var fit, unfit []*url.URL
	for _, u := range n.urls {
		if now.Before(n.avoid[u.Host]) {
			unfit = append(unfit, u)
		} else {
			fit = append(fit, u)
		}
	}
	return append(fit, unfit...)
}

func (n *nodes) served(host string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.avoid, host)
	if n.last != "" && n.last != host {
		slog.Info("asking another node of Vault", "node", host, "before", n.last)
	}
	n.last = host
}

func (n *nodes) avoided(host string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.avoid[host] = time.Now().Add(avoidFor)
}

// arrival follows one attempt, to know whether the node can have got the request. An idle connection that turns out to be closed does not count, as long as
// nothing was written to it.
type arrival struct {
	mu             sync.Mutex
	connected, all bool
}

func (a *arrival) trace() *httptrace.ClientTrace {
	set := func(change func()) {
		a.mu.Lock()
		defer a.mu.Unlock()
		change()
	}
	return &httptrace.ClientTrace{
		GetConn:      func(string) { set(func() { a.connected = a.all }) },
		GotConn:      func(httptrace.GotConnInfo) { set(func() { a.connected = true }) },
		WroteRequest: func(httptrace.WroteRequestInfo) { set(func() { a.all = true }) },
	}
}

func (a *arrival) possible() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.connected
}

// noActive is how a standby says that it knows no active node; it has done nothing then.
var noActive = []byte("local node not active but active cluster node not found")

// handsOn says that a standby cannot reach the active node, and whom it takes for that one.
func handsOn(response *http.Response) bool {
	return response.StatusCode >= http.StatusMultipleChoices && response.StatusCode < http.StatusBadRequest && response.Header.Get("Location") != ""
}

// refusing makes of the last node's word that another one is active, when all have been asked, the refusal that it is: none serves.
func refusing(response *http.Response) *http.Response {
	if !handsOn(response) {
		return response
	}
	_ = response.Body.Close()
	const text = `{"errors":["no node of Vault serves: each takes another one for active"]}`
	response.StatusCode, response.Status = http.StatusServiceUnavailable, "503 Service Unavailable"
	response.Header = http.Header{"Content-Type": {"application/json"}}
	response.Body, response.ContentLength = io.NopCloser(strings.NewReader(text)), int64(len(text))
	return response
}

// cannotServe says whether a node has refused to do anything at all: it is sealed, not initialised, knows no active node or cannot reach it. The body stays readable.
func cannotServe(response *http.Response) bool {
	if response.StatusCode == http.StatusServiceUnavailable || handsOn(response) {
		return true
	}
	if response.StatusCode != http.StatusInternalServerError {
		return false
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<16))
	rest := response.Body
	response.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(body), rest), rest}
	return err == nil && bytes.Contains(body, noActive)
}
