package settings

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const complete = `# rendered by the deployer
POSTGRES_HOST=127.0.0.11
POSTGRES_USER='v-odoo-app-1'
POSTGRES_PASSWORD="pa=ss # word"
POSTGRES_DB=ofitec_prod
POSTGRES_SSLROOTCERT=/ca.crt
ODOO_COLOUR=blue
ODOO_REGION=a
ODOO_ADDR=127.0.0.11:8069
ODOO_LONG_TRANSACTION=3s
ADDONS_PATH=/mnt/addons
`

func write(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), ".env")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestTheFileIsReadAsComposeReadsIt(t *testing.T) {
	s, err := Load(write(t, complete))
	if err != nil {
		t.Fatal(err)
	}
	if s.Postgres.Password.Reveal() != "pa=ss # word" || s.Postgres.User != "v-odoo-app-1" || s.Postgres.Port != 5432 || s.Postgres.ReadPort != 5434 {
		t.Errorf("postgres is %+v", s.Postgres)
	}
	if s.LongTransaction != 3*time.Second || s.WriterInterval != 2*time.Second || !s.Writer || len(s.Unknown) != 0 {
		t.Errorf("settings are %+v", s)
	}
}

func TestALineOfItsOwnThatMeansNothingIsNamed(t *testing.T) {
	s, err := Load(write(t, complete+"ODOO_WRITTER=off\n"))
	if err != nil || len(s.Unknown) != 1 || s.Unknown[0] != "ODOO_WRITTER" {
		t.Errorf("unknown lines are %v, error %v", s.Unknown, err)
	}
}

func TestAllProblemsAreToldAtOnceAndNoPasswordAmongThem(t *testing.T) {
	text := strings.NewReplacer("ODOO_COLOUR=blue", "ODOO_COLOUR=red", "POSTGRES_HOST=127.0.0.11\n", "", "ODOO_LONG_TRANSACTION=3s", "ODOO_LONG_TRANSACTION=3").Replace(complete)
	_, err := Load(write(t, text+"hunter2\nODOO_SCALE=0\n"))
	if err == nil {
		t.Fatal("a wrong file was taken")
	}
	for _, want := range []string{`ODOO_COLOUR="red" must be one of blue, green`, "POSTGRES_HOST is missing", `ODOO_LONG_TRANSACTION="3" must be a duration`, "is not KEY=VALUE", `ODOO_SCALE="0"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not told in:\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "pa=ss") {
		t.Errorf("the problem shows a secret: %v", err)
	}
}

func TestAPasswordIsNotPrinted(t *testing.T) {
	s, err := Load(write(t, complete))
	if err != nil {
		t.Fatal(err)
	}
	if text := fmt.Sprintf("%v %+v %#v", s, s, s); strings.Contains(text, "pa=ss") {
		t.Errorf("printed: %s", text)
	}
}
