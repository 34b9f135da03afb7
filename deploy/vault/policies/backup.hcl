# Reads the session that restic works with, and nothing else.
path "secret/data/ofitec/credentials/restic" {
  capabilities = ["read"]
}
