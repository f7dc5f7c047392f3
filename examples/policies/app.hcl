# A service: reads its own secrets, and calls one provider through the gateway without being able
# to read that provider's key.
path "secret/data/app/*" {
  capabilities = ["read"]
}
path "secret/metadata/app/*" {
  capabilities = ["list"]
}
path "gateway/proxy/openai/v1/*" {
  capabilities = ["invoke"]
  methods      = ["GET", "POST"]
}
