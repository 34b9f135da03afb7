package main

import (
	"context"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/ofitec/ofitec/chassis/config"
	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/deployer/internal/active"
	"github.com/ofitec/ofitec/services/deployer/internal/command"
	"github.com/ofitec/ofitec/services/deployer/internal/haproxy"
	"github.com/ofitec/ofitec/services/deployer/internal/rollout"
	"github.com/ofitec/ofitec/services/deployer/internal/traefik"
)

// proxy moves the traffic between the colours. It is called by one goroutine at a time, but for Traffic.
type proxy interface {
	// Traffic says where the traffic goes.
	Traffic(ctx context.Context) (rollout.Traffic, error)
	// Give gives a colour a share of the traffic in percent, now and after a restart of the proxy; a share of less than all is the other colour's after a restart. Twice
	// is once. An error says that the traffic is where it was, as far as anybody knows.
	Give(ctx context.Context, to state.Colour, percent int) error
	// Forgotten says that nothing on this machine remembers a switch.
	Forgotten() bool
}

// proxies are the kinds of OFITEC_WEB_PROXY.
var proxies = map[string]func(p Proxy) proxy{
	"haproxy": func(p Proxy) proxy { return haproxy.Proxy{Socket: p.Socket, Active: active.File(p.Active)} },
	"traefik": func(p Proxy) proxy {
		t := p.Traefik
		return traefik.Proxy{File: t.File, Service: t.Service, Servers: t.Servers, API: t.API, Active: active.File(p.Active), Within: t.Within}
	},
	"command": func(p Proxy) proxy {
		return command.Switch{
			Command: command.Command{Args: strings.Fields(p.Switch), Timeout: p.Timeout}, Status: strings.Fields(p.Status), Active: active.File(p.Active),
		}
	},
}

// problems are all that is wrong with how the traffic is moved.
func (p Proxy) problems() (problems []error) {
	bad := func(variable, value, want string) {
		problems = append(problems, &config.Problem{Variable: variable, Value: value, Want: want})
	}
	need := func(variable, value, want string) {
		if value == "" {
			problems = append(problems, config.Require(variable, value, want)...)
		}
	}
	switch p.Kind {
	case "haproxy":
		need("OFITEC_WEB_PROXY_SOCKET", p.Socket, "the path of HAProxy's runtime socket")
	case "traefik":
		need("OFITEC_TRAEFIK_FILE", p.Traefik.File, "the path of a dynamic configuration, YAML")
		need("OFITEC_TRAEFIK_SERVICE", p.Traefik.Service, "the name of a weighted service")
		if !strings.Contains(p.Traefik.Servers, "$colour") {
			bad("OFITEC_TRAEFIK_COLOUR_SERVICE", p.Traefik.Servers, "a name with $colour in it, such as odoo-$colour")
		}
		if u, err := url.Parse(p.Traefik.API); p.Traefik.API != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
			bad("OFITEC_TRAEFIK_API_URL", p.Traefik.API, "a URL such as http://127.0.0.1:8081")
		}
		if p.Traefik.Within <= 0 {
			bad("OFITEC_TRAEFIK_WITHIN", p.Traefik.Within.String(), "a duration of more than 0; Traefik's own throttle is 2s")
		}
	case "command":
		need("OFITEC_SWITCH_COMMAND", p.Switch, "a command such as python3 infra/autoscaler/switcher.py --one-shot")
		if p.Timeout <= 0 {
			bad("OFITEC_SWITCH_COMMAND_TIMEOUT", p.Timeout.String(), "a duration of more than 0")
		}
		if len(p.Steps) > 1 {
			bad("OFITEC_SWITCH_STEPS", p.steps(), "100 alone: a switch command moves all of the traffic")
		}
	default:
		bad("OFITEC_WEB_PROXY", p.Kind, "haproxy, traefik or command")
	}
	if n := len(p.Steps); n == 0 || p.Steps[0] < 1 || p.Steps[n-1] != 100 || !slices.IsSorted(p.Steps) || len(slices.Compact(slices.Clone(p.Steps))) != n {
		bad("OFITEC_SWITCH_STEPS", p.steps(), "whole percents from 1 on, each more than the one before, the last 100, such as 10,50,100")
	}
	return problems
}

func (p Proxy) steps() string {
	var texts []string
	for _, step := range p.Steps {
		texts = append(texts, strconv.Itoa(step))
	}
	return strings.Join(texts, ",")
}
