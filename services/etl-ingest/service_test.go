package main

import (
	"testing"

	"github.com/ofitec/ofitec/chassis/chassistest"
)

func TestMain(m *testing.M) { chassistest.Main(m, main) }

func TestItBehavesLikeEveryService(t *testing.T) {
	chassistest.Conduct(t, name, "OFITEC_ODOO_URL=http://"+chassistest.FreeAddr(t), "OFITEC_WAREHOUSE="+t.TempDir())
}
