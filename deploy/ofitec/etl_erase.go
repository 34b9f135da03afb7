package main

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func newETLErase() *cobra.Command {
	var reason string
	command := &cobra.Command{
		Use: "erase DATASET ID", Short: "Take the rows of a person out of all raw files; both regions' warehouses are then made anew without them", Args: cobra.ExactArgs(2),
		Long: "Take the rows of a person out of all raw files; both regions' warehouses are then made anew without them.\n\nThe rows are those of the dataset, and of datasets with personal data that name it: of a partner also the contacts. " +
			"Files are replaced, a record of kind erasure in the manifest says which, by whom and why, and the old files are removed. Documents keep the partner's number. Erase at Odoo first: what Odoo still has comes again when it changes. Cut off at any point, the same command goes on.",
		Example: "  ofitec etl erase partner 7 --reason \"request 12 of 2026\"",
		RunE: func(cmd *cobra.Command, args []string) error {
			if strings.TrimSpace(reason) == "" {
				return wrongUse{errors.New("--reason: say why, without a personal datum; it stands in the manifest")}
			}
			return withOperator(cmd, func(ctx context.Context, o *operator, _ bool) error {
				r, err := o.activeRegion(ctx)
				if err != nil {
					return err
				}
				// Services may not remove a raw file, not even as root: the right is that of the object store's owner.
				secrets := filepath.Join(o.layout.OperatorDir(), "secrets")
				c := warehouseCommand{name: "erase", asOperator: true, env: []string{
					"OFITEC_S3_ACCESS_KEY_FILE=" + filepath.Join(secrets, "minio-root-user"), "OFITEC_S3_SECRET_KEY_FILE=" + filepath.Join(secrets, "minio-root-password"),
				}}
				by := act(reason, time.Now())
				said := append(passed(cmd), "--actor="+by.Actor, "--reason="+by.Reason)
				return c.run(ctx, o, r, cmd.OutOrStdout(), cmd.ErrOrStderr(), append(said, args...)...)
			})
		},
	}
	command.Flags().StringVar(&reason, "reason", "", "why, without a personal datum; it stands in the manifest")
	outputFlag(command)
	return command
}
