# Makes, lengthens and ends the users of an hour, and stages what it made. It reads no secret of another service.
path "database/roles/odoo-app" {
  capabilities = ["read"]
}
path "database/creds/odoo-app" {
  capabilities = ["read"]
}
# The same for those who read the marts.
path "database/roles/analytics-reader" {
  capabilities = ["read"]
}
path "database/creds/analytics-reader" {
  capabilities = ["read"]
}
# A user of minutes who may fence users of both kinds, and nothing else.
path "database/creds/rotator-fence" {
  capabilities = ["read"]
}
# Fingerprints by a key that does not leave Vault.
path "transit/hmac/credential-fingerprint" {
  capabilities = ["update"]
}
path "sys/leases/lookup" {
  capabilities       = ["update"]
  allowed_parameters = { lease_id = ["database/creds/odoo-app/*", "database/creds/analytics-reader/*"] }
}
path "sys/leases/renew" {
  capabilities       = ["update"]
  allowed_parameters = { lease_id = ["database/creds/odoo-app/*", "database/creds/analytics-reader/*"], increment = [] }
}
# The list of leases, to reconcile it with pg_roles and its own state (sudo is what Vault asks for this path).
path "sys/leases/lookup/database/creds/odoo-app/" {
  capabilities = ["list", "sudo"]
}
path "sys/leases/lookup/database/creds/analytics-reader/" {
  capabilities = ["list", "sudo"]
}
path "secret/data/ofitec/credentials/*" {
  capabilities = ["create", "update", "read"]
}
path "secret/metadata/ofitec/credentials/*" {
  capabilities = ["read", "list"]
}
# Versions of ended credentials are destroyed: an old password has no reader.
path "secret/destroy/ofitec/credentials/*" {
  capabilities = ["update"]
}
# Revocation by path, which is how vault/api's synchronous one asks.
path "sys/leases/revoke/database/creds/odoo-app/*" {
  capabilities = ["update"]
}
path "sys/leases/revoke/database/creds/analytics-reader/*" {
  capabilities = ["update"]
}
path "sys/leases/revoke/database/creds/rotator-fence/*" {
  capabilities = ["update"]
}
# Its own token, which must outlive the leases that it asked for: looked at, and renewed, before a user is made.
path "auth/token/lookup-self" {
  capabilities = ["read"]
}
path "auth/token/renew-self" {
  capabilities = ["update"]
}
# Secrets made by a password policy: kinds kv and vault-root.
path "sys/policies/password/ofitec-secret/generate" {
  capabilities = ["read"]
}
# What only the rotator reads: the keys that may ask a cloud for sessions, and the engine's own login, with the one before kept beside it.
path "secret/data/ofitec/rotator/*" {
  capabilities = ["create", "update", "read"]
}
path "secret/metadata/ofitec/rotator/*" {
  capabilities = ["read", "list"]
}
path "secret/destroy/ofitec/rotator/*" {
  capabilities = ["update"]
}
# The engine's own login, and nothing else of its connection.
path "database/config/ofitec" {
  capabilities       = ["update"]
  allowed_parameters = { password = [], verify_connection = [] }
}
