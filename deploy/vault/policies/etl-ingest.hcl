# Its token towards Odoo, its key towards the object store, and a data key to seal raw files with.
path "secret/data/ofitec/etl-ingest/*" {
  capabilities = ["read"]
}
path "transit/datakey/plaintext/ofitec-raw" {
  capabilities = ["update"]
}
path "transit/encrypt/ofitec-raw" {
  capabilities = ["update"]
}
# What Odoo signs its announcements with, and nothing else that is rotated.
path "secret/data/ofitec/credentials/export-webhook" {
  capabilities = ["read"]
}
