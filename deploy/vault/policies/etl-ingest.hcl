# Its token towards Odoo, its key towards the object store, and the keys that raw files are encrypted with (raw-key).
path "secret/data/ofitec/etl-ingest/*" {
  capabilities = ["read"]
}
# What Odoo signs its announcements with, and nothing else that is rotated.
path "secret/data/ofitec/credentials/export-webhook" {
  capabilities = ["read"]
}
