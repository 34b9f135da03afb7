# An operator's: a user of the database by hand when the rotation does not help. Who took one, and why, is announced by the command that takes it.
path "database/creds/break-glass" {
  capabilities = ["read"]
}
path "transit/hmac/credential-fingerprint" {
  capabilities = ["update"]
}
path "sys/leases/revoke/database/creds/break-glass/*" {
  capabilities = ["update"]
}
