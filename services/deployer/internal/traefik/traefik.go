// Package traefik moves the traffic between the two colours by Traefik's file provider: the weights of a weighted service in a dynamic configuration, which Traefik
// watches. Only the two numbers are changed; every other byte of the file is the operator's. Where Traefik's API can be reached, a switch is done when Traefik says so.
package traefik

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"github.com/ofitec/ofitec/events/state"
	"github.com/ofitec/ofitec/services/deployer/internal/active"
	"github.com/ofitec/ofitec/services/deployer/internal/rollout"
)

// Proxy is a Traefik with a file provider. It is safe for concurrent use while one process at a time writes.
type Proxy struct {
	File    string // dynamic configuration, YAML
	Service string // weighted service in it
	Servers string // name of a colour's service; $colour is replaced
	API     string // URL of Traefik's API; empty: a written file is a switch
	Active  active.File
	Within  time.Duration // how long Traefik may take to load a file; its own throttle is 2 s
}

var client = &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// Traffic is what the file says; Traefik does not tell how many requests a service works on.
func (p Proxy) Traffic(context.Context) (rollout.Traffic, error) {
	unknown := rollout.Traffic{Open: -1}
	_, weights, err := p.read()
	if err != nil {
		return unknown, err
	}
	traffic, err := p.Active.Weighed(weights[state.Blue].value, weights[state.Green].value)
	traffic.Open = -1
	if err != nil {
		return unknown, fmt.Errorf("read %s: %w", p.File, err)
	}
	return traffic, nil
}

// Give gives a colour its share. The file of the active colour changes first, and with all of the traffic only. It does nothing to a file that says so already, but
// waits for Traefik then too.
func (p Proxy) Give(ctx context.Context, to state.Colour, percent int) error {
	content, weights, err := p.read()
	if err != nil {
		return err
	}
	other := rollout.Other(to)
	keep := other
	if percent == 100 {
		keep = to
	}
	given := weights[to].value == percent && weights[other].value == 100-percent
	if !given {
		if err := p.up(ctx, to); err != nil {
			return err
		}
	}
	if err := p.Active.Write(keep); err != nil {
		return err
	}
	if !given {
		info, err := os.Stat(p.File)
		if err != nil {
			return fmt.Errorf("switch to %s: %w", to, err)
		}
		next := change(content, map[place]int{weights[to].place: percent, weights[other].place: 100 - percent})
		if err := active.Replace(p.File, next, info.Mode().Perm()); err != nil {
			return fmt.Errorf("switch to %s: %w", to, err)
		}
	}
	return p.loaded(ctx, map[state.Colour]int{to: percent, other: 100 - percent})
}

// Forgotten says that nothing was ever switched on this machine.
func (p Proxy) Forgotten() bool { return p.Active.Forgotten() }

func (p Proxy) server(c state.Colour) string {
	return strings.ReplaceAll(p.Servers, "$colour", string(c))
}

// place is where a scalar begins, both counted from 1.
type place struct{ line, column int }

type weight struct {
	place
	value int
}

// document is the part of a dynamic configuration that is read. Weights are nodes, which know where they stand.
type document struct {
	HTTP struct {
		Services map[string]struct {
			Weighted struct {
				Services []struct {
					Name   string    `yaml:"name"`
					Weight yaml.Node `yaml:"weight"`
				} `yaml:"services"`
			} `yaml:"weighted"`
		} `yaml:"services"`
	} `yaml:"http"`
}

func (p Proxy) read() (content []byte, weights map[state.Colour]weight, err error) {
	info, err := os.Lstat(p.File)
	if err != nil {
		return nil, nil, fmt.Errorf("read Traefik's dynamic configuration: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("read Traefik's dynamic configuration: %s is no regular file: name the file itself, a link would be replaced", p.File)
	}
	if content, err = os.ReadFile(p.File); err != nil {
		return nil, nil, fmt.Errorf("read Traefik's dynamic configuration: %w", err)
	}
	var d document
	if err := yaml.Unmarshal(content, &d); err != nil {
		return nil, nil, fmt.Errorf("read Traefik's dynamic configuration: %s: %w", p.File, err)
	}
	weights = map[state.Colour]weight{}
	for _, colour := range []state.Colour{state.Blue, state.Green} {
		for _, service := range d.HTTP.Services[p.Service].Weighted.Services {
			if name, _, _ := strings.Cut(service.Name, "@"); name != p.server(colour) {
				continue
			}
			value, err := strconv.Atoi(service.Weight.Value)
			if err != nil || value < 0 || service.Weight.Style != 0 {
				return nil, nil, fmt.Errorf("read Traefik's dynamic configuration: %s: the weight of %s is %q, want a whole number, 0 or more", p.File, service.Name, service.Weight.Value)
			}
			weights[colour] = weight{place{service.Weight.Line, service.Weight.Column}, value}
		}
		if _, found := weights[colour]; !found {
			return nil, nil, fmt.Errorf("read Traefik's dynamic configuration: %s has no %s with a weight in http.services.%s.weighted.services", p.File, p.server(colour), p.Service)
		}
	}
	return content, weights, nil
}

// change writes numbers over those that stand at the places. Columns are counted in characters.
func change(content []byte, numbers map[place]int) []byte {
	var out bytes.Buffer
	line := 0
	for text := range bytes.Lines(content) {
		line++
		characters := []rune(string(text))
		for column := len(characters); column >= 1; column-- { // from the right, so that places stay true
			number, here := numbers[place{line, column}]
			if !here {
				continue
			}
			end := column - 1
			for end < len(characters) && (characters[end] >= '0' && characters[end] <= '9' || characters[end] == '+' || characters[end] == '_') {
				end++
			}
			characters = append(append(characters[:column-1:column-1], []rune(strconv.Itoa(number))...), characters[end:]...)
		}
		out.WriteString(string(characters))
	}
	return out.Bytes()
}

// up refuses a colour that Traefik does not see up; without health checks Traefik sees all up, and without its API nobody is asked.
func (p Proxy) up(ctx context.Context, colour state.Colour) error {
	if p.API == "" {
		return nil
	}
	var service struct {
		ServerStatus map[string]string `json:"serverStatus"`
	}
	if err := p.ask(ctx, p.server(colour), &service); err != nil {
		return err
	}
	for server, status := range service.ServerStatus {
		if status != "UP" {
			return fmt.Errorf("switch to %s: Traefik sees %s %s", colour, server, status)
		}
	}
	return nil
}

// loaded waits until Traefik runs on the weights.
func (p Proxy) loaded(ctx context.Context, want map[state.Colour]int) error {
	if p.API == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, p.Within)
	defer cancel()
	for {
		has, err := p.running(ctx)
		if err == nil && has[state.Blue] == want[state.Blue] && has[state.Green] == want[state.Green] {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("switch: Traefik has not loaded %s within %s", p.File, p.Within), err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (p Proxy) running(ctx context.Context) (map[state.Colour]int, error) {
	var service struct {
		Weighted struct {
			Services []struct {
				Name   string `json:"name"`
				Weight int    `json:"weight"`
			} `json:"services"`
		} `json:"weighted"`
	}
	if err := p.ask(ctx, p.Service, &service); err != nil {
		return nil, err
	}
	has := map[state.Colour]int{}
	for _, s := range service.Weighted.Services {
		for _, colour := range []state.Colour{state.Blue, state.Green} {
			if name, _, _ := strings.Cut(s.Name, "@"); name == p.server(colour) {
				has[colour] = s.Weight
			}
		}
	}
	return has, nil
}

func (p Proxy) ask(ctx context.Context, service string, into any) error {
	address := strings.TrimRight(p.API, "/") + "/api/http/services/" + url.PathEscape(service+"@file")
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return fmt.Errorf("ask Traefik: %w", err)
	}
	response, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("ask Traefik: %w", err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("ask Traefik: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("ask Traefik for %s@file: it answers %d", service, response.StatusCode)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("ask Traefik for %s@file: %w", service, err)
	}
	return nil
}
