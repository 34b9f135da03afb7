package main

import (
	"strings"
	"testing"

	"github.com/ofitec/ofitec/chassis/chassistest"
	"github.com/ofitec/ofitec/deploy"
	"github.com/ofitec/ofitec/events"
)

func TestAWrongListOfCredentialsIsNamedWhole(t *testing.T) {
	env := []string{"NATS_URL=nats://127.0.0.1:4222", "ETCD_ENDPOINTS=127.0.0.1:2379", "VAULT_ADDR=http://127.0.0.1:8200", "OFITEC_DATABASE_PROXIES=127.0.0.1:5432", "OFITEC_REGION=a"}
	for _, c := range []struct {
		name, list string
		want       []string
	}{
		{"none", "credentials: []\n", []string{"credentials is not set", "one or more"}},
		{"names and roles twice", "credentials:\n  - {name: a, kind: database}\n  - {name: a, kind: database}\n", []string{`credentials[1].name="a"`, `credentials[1].role="a"`}},
		{"roles whose users have the same names", "credentials:\n  - {name: odoo-app, kind: database}\n  - {name: odoo-app-batch, kind: database}\n  - {name: app, kind: database}\n",
			[]string{`credentials[1].role="odoo-app-batch"`, `credentials[2].role="app"`, "odoo-app by its first eight letters"}},
		{"a kind that nobody knows", "credentials:\n  - {name: A b, kind: ldap, life: 1h}\n", []string{`credentials[0].name="A b"`, `credentials[0].kind="ldap"`}},
		{"a session shorter than any", "credentials:\n  - {name: s3, kind: sts, life: 1m, deploy: true, sts: {endpoint: sts.amazonaws.com}}\n",
			[]string{`credentials[0].life="1m0s"`, `credentials[0].sts.endpoint="sts.amazonaws.com"`, "credentials[0].sts.try is not set", `credentials[0].deploy="true"`}},
		{"a secret without a policy", "credentials:\n  - {name: k, kind: kv, connection: x}\n", []string{"credentials[0].generate is not set", `credentials[0].life="0s"`, `credentials[0].connection="x"`}},
		{"the engine's login without what keeps the one before", "credentials:\n  - {name: r, kind: vault-root, life: 24h, generate: p, connection: ofitec}\n", []string{"credentials[0].overlap"}},
		{"readers of nothing, and such as are deployed", "credentials:\n  - {name: r, kind: database, deploy: true, reads: {database: analytics}}\n  - {name: k, kind: kv, generate: p, life: 1h, reads: {database: d, group: g}}\n",
			[]string{"credentials[0].reads.group is not set", `credentials[0].deploy="true"`, `credentials[1].reads="d"`}},
		{"a field that nobody knows", "credentials:\n  - {name: k, kind: kv, ttl: 1h}\n", []string{"ttl"}},
	} {
		status, _, complaints := chassistest.Run(t, nil, append(env, configFile(t, c.list))...)
		if status != 2 {
			t.Errorf("%s: exit status %d", c.name, status)
		}
		for _, want := range c.want {
			if !strings.Contains(complaints, want) {
				t.Errorf("%s: no %s in %q", c.name, want, complaints)
			}
		}
	}
}

func TestTheListOfTheLocalStackHasCredentialsOfAllKindsAndIsTaken(t *testing.T) {
	list, err := deploy.Credentials{Objects: "https://127.0.0.1:9000"}.Render()
	must(t, err)
	status, _, complaints := chassistest.Run(t, nil, "ETCD_ENDPOINTS=127.0.0.1:2379", "VAULT_ADDR=http://127.0.0.1:8200", "OFITEC_DATABASE_PROXIES=127.0.0.1:5432", "OFITEC_REGION=a", configFile(t, string(list)))
	if status != 2 || !strings.Contains(complaints, "NATS_URL") || strings.Contains(complaints, "credentials") { // one thing is wrong, and it is not the list
		t.Errorf("exit status %d: %s", status, complaints)
	}
	for _, kind := range events.CredentialKinds {
		if !strings.Contains(string(list), "kind: "+string(kind)+",") && !strings.Contains(string(list), "kind: "+string(kind)+"}") {
			t.Errorf("no credential of kind %s", kind)
		}
	}
}
