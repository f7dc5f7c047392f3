# Binds services to provider keys. Binding is reading: without the second rule every change of a
# service is refused, so whoever holds this policy is trusted with those keys.
path "gateway/services/*" {
  capabilities = ["create", "read", "update", "delete", "list"]
}
path "secret/data/providers/*" {
  capabilities = ["read"]
}
