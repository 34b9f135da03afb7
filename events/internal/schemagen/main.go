// Command schemagen writes schema/*.json from the payload structs and asyncapi.yaml from the definitions, in the folder that it is started in.
package main

import (
	"fmt"
	"os"

	"github.com/ofitec/ofitec/events/internal/contract"
)

func main() {
	if err := contract.Write("."); err != nil {
		fmt.Fprintln(os.Stderr, "schemagen:", err)
		os.Exit(1)
	}
}
