# The operator's, and that of whoever takes snapshots by a clock: a copy of all that Vault has, sealed by Vault's own key. It opens nothing here, and puts nothing back.
path "sys/storage/raft/snapshot" {
  capabilities = ["read"]
}
