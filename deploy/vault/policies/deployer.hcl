# Fetches what an event refers to, by path and version. It can neither make, change nor end a credential.
path "secret/data/ofitec/credentials/*" {
  capabilities = ["read"]
}
