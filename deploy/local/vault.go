package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/ofitec/ofitec/deploy"
	"github.com/ofitec/ofitec/deploy/local/bootstrap"
	"github.com/ofitec/ofitec/deploy/local/layout"
	"github.com/ofitec/ofitec/deploy/local/servers"
	"github.com/ofitec/ofitec/deploy/local/supervise"
)

const (
	vaultLook    = time.Second      // between two looks at a node that is not open
	vaultAttempt = 20 * time.Second // to be taken in, a node receives all data
)

// startVault builds Vault when it has to, starts a node in each region and brings them to work. They are unsealed here at each start of the local stack; nowhere else.
func (s *Stack) startVault(ctx context.Context) error {
	program, err := s.server(ctx, servers.Vault)
	if err != nil {
		return err
	}
	var nodes []supervise.Spec
	var ids []string
	for _, r := range layout.Regions {
		node := s.vault(r, program)
		nodes, ids = append(nodes, node), append(ids, node.ID())
	}
	if err := s.add(nodes...); err != nil {
		return err
	}
	for _, r := range layout.Regions {
		s.keepOpen(ctx, r)
	}
	for _, step := range []struct {
		what string
		run  func(ctx context.Context) error
	}{
		{"vault", func(ctx context.Context) error { return bootstrap.Vault(ctx, s.layout, s.owners.forIdentity(), s.tls) }},
		{"vault's nodes", s.vaultWhole},
	} {
		if err := s.retry(ctx, step.what, 4*shortAttempt, step.run); err != nil {
			return err
		}
	}
	go s.followReader(ctx)
	go s.snapshots(ctx)
	for _, r := range layout.DataRegions {
		go s.followWebhook(ctx, r)
	}
	return s.await(ctx, ids...)
}

// vault is one region's node.
func (s *Stack) vault(r layout.Region, program string) supervise.Spec {
	a := s.layout.Addressing
	dir := s.layout.ComponentDir(r, "vault")
	config, tls := filepath.Join(dir, "vault.hcl"), s.serverTLS(r, "vault")
	node := deploy.Vault{
		NodeID: bootstrap.VaultNodeID(r), DataDir: filepath.Join(dir, "data"), Listen: a.Addr(r, layout.PortVault), Cluster: a.Addr(r, layout.PortVaultCluster), TLS: tls,
	}
	for _, other := range layout.Regions {
		if other != r {
			node.Peers = append(node.Peers, a.Addr(other, layout.PortVault))
		}
	}
	spec := s.component(r, "vault", program, node.Listen,
		file{config, node.Render},
		file{filepath.Join(dir, "ca.crt"), func() ([]byte, error) { return os.ReadFile(tls.CA) }}, // for the database's certificates: all nodes share that configuration
	)
	spec = before(spec, func(context.Context) error {
		if err := bootstrap.DiscardUnkept(s.layout, r, node.DataDir); err != nil {
			return err
		}
		return makeDir(node.DataDir, 0o700, s.owners.of("vault"))
	})
	spec.Args, spec.Nice = []string{"server", "-config=" + config}, 5
	spec.Ready = vaultReady(bootstrap.VaultAddress(s.layout, r), tlsClient(s.tls))
	return spec
}

// keepOpen opens a region's node after each start of its process, as the local stack's keys are at hand, and lets the others take in one that has lost its data.
// Production has an operator or an HSM for the first, and an operator for the second.
func (s *Stack) keepOpen(ctx context.Context, r layout.Region) {
	go func() {
		said := time.Now()
		for {
			select {
			case <-ctx.Done():
				return
			case <-time.After(vaultLook):
			}
			if status, err := s.supervisor.Status(string(r) + "/vault"); err != nil || status.PID == 0 || status.Ready {
				continue
			}
			limited, cancel := context.WithTimeout(ctx, vaultAttempt)
			err := bootstrap.OpenVault(limited, s.layout, r, s.tls)
			cancel()
			if errors.Is(err, bootstrap.ErrKeysLost) {
				err = errors.Join(err, s.supervisor.Signal(string(r)+"/vault", syscall.SIGKILL)) // its start throws the data away
			}
			if err != nil && ctx.Err() == nil && time.Since(said) > 10*time.Second {
				said = time.Now()
				s.terminal.say("vault in region %s: not yet: %v", r, err)
			}
		}
	}()
}

// vaultWhole waits for the vote of each node: until then the loss of a region could stop Vault.
func (s *Stack) vaultWhole(ctx context.Context) error {
	return bootstrap.VaultWhole(ctx, s.layout, s.tls)
}

// vaultReady is ready when the node is open and knows who is active, be it itself or another one, to whom it hands requests.
func vaultReady(address string, client *http.Client) probe {
	open := httpReady(address+"/v1/sys/health?standbyok=true", client)
	return func(ctx context.Context) error {
		if err := open(ctx); err != nil {
			return err
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, address+"/v1/sys/leader", nil)
		if err != nil {
			return fmt.Errorf("make request: %w", err)
		}
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		defer func() { _ = response.Body.Close() }()
		var answer struct {
			Leader string `json:"leader_address"`
		}
		if err := json.NewDecoder(io.LimitReader(response.Body, 1<<16)).Decode(&answer); err != nil {
			return fmt.Errorf("ask who is active: %w", err)
		}
		if answer.Leader == "" {
			return errors.New("no node is active: fewer than two of the three answer each other")
		}
		return nil
	}
}
