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
