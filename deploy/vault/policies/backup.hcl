# Reads the session that restic works with, and nothing else.
path "secret/data/ofitec/credentials/restic" {
  capabilities = ["read"]
}
# The helper logs in each time, and out again.
path "auth/token/revoke-self" {
  capabilities = ["update"]
}
