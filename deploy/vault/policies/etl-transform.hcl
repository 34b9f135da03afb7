# The key of personal-data tokens (token-key), its own database password, and the keys that raw files are opened with (raw-key).
path "secret/data/ofitec/etl-transform/*" {
  capabilities = ["read"]
}
