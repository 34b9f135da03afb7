# Reads the login that dashboards work with, and nothing else.
path "secret/data/ofitec/credentials/analytics-reader" {
  capabilities = ["read"]
}
