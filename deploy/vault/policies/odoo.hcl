# What brings Odoo the secret that it signs its announcements with: Vault Agent, or the local stack itself. Its database user and its master password come by deployers.
path "secret/data/ofitec/credentials/export-webhook" {
  capabilities = ["read"]
}
