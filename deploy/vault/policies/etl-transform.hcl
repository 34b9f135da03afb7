# The key of personal-data tokens, its own database password, and opening what etl-ingest sealed.
path "secret/data/ofitec/etl-transform/*" {
  capabilities = ["read"]
}
path "transit/decrypt/ofitec-raw" {
  capabilities = ["update"]
}
