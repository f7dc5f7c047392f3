# An operator: mounts, policies, devices, keys, sealing. Reads no secret.
path "sys/mounts" {
  capabilities = ["read"]
}
path "sys/mounts/*" {
  capabilities = ["create", "read", "update", "delete"]
}
path "sys/auth" {
  capabilities = ["read"]
}
path "sys/auth/*" {
  capabilities = ["create", "read", "update", "delete", "sudo"]
}
path "sys/policies/acl" {
  capabilities = ["list"]
}
path "sys/policies/acl/*" {
  capabilities = ["create", "read", "update", "delete"]
}
path "sys/audit" {
  capabilities = ["read", "sudo"]
}
path "sys/audit/*" {
  capabilities = ["create", "update", "delete", "sudo"]
}
path "sys/key-status" {
  capabilities = ["read"]
}
path "sys/rotate" {
  capabilities = ["update", "sudo"]
}
path "sys/rekey/*" {
  capabilities = ["read", "update", "delete", "sudo"]
}
path "sys/seal" {
  capabilities = ["update", "sudo"]
}
path "secret/*" {
  capabilities = ["deny"]
}
