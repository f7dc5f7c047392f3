#!/usr/bin/env bash
# The whole story on real processes: a server on sled with TLS, init 5/3, unseal, versions of a
# secret, a policy, an app that uses a key it cannot read, a TOTP code, rotation, rekey, kill -9,
# seal, and the audit file that tells it all and none of the secrets.
#
# Needs bash, curl, openssl, python3 and jq. Builds the binaries if they are not there.
# VAULTD_BIN_DIR names a directory with vaultd and vault-cli to use instead.
set -euo pipefail
cd "$(dirname "$0")/.."

for tool in curl openssl python3 jq; do
    command -v "$tool" >/dev/null || { echo "quickstart: $tool is needed" >&2; exit 1; }
done
BIN=${VAULTD_BIN_DIR:-${CARGO_TARGET_DIR:-target}/debug}
if [ ! -x "$BIN/vaultd" ] || [ ! -x "$BIN/vault-cli" ]; then
    cargo build --locked --workspace --bins
fi
BIN=$(cd "$BIN" && pwd)
DIR=$(mktemp -d "${TMPDIR:-/tmp}/vaultd-quickstart.XXXXXX")
VAULTD_PID='' UPSTREAM_PID=''
cleanup() {
    [ -z "$VAULTD_PID" ] || kill -9 "$VAULTD_PID" 2>/dev/null || true
    [ -z "$UPSTREAM_PID" ] || kill "$UPSTREAM_PID" 2>/dev/null || true
    rm -rf "$DIR"
}
trap cleanup EXIT
umask 077

step() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
say() { printf '   %s\n' "$*"; }
fail() { printf 'quickstart: FAILED: %s\n' "$*" >&2; exit 1; }
# expect CODE COMMAND…: the command must end with this exit code.
expect() {
    local want=$1 got=0
    shift
    "$@" >"$DIR/out" 2>&1 || got=$?
    [ "$got" = "$want" ] || { cat "$DIR/out" >&2; fail "exit code $got instead of $want: $*"; }
}
same() { [ "$1" = "$2" ] || fail "$3: got '$1', want '$2'"; }

step "A CA and a server certificate"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=quickstart CA" \
    -keyout "$DIR/ca-key.pem" -out "$DIR/ca.pem" 2>/dev/null
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=localhost" \
    -keyout "$DIR/key.pem" -out "$DIR/server.csr" 2>/dev/null
printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n' >"$DIR/ext"
openssl x509 -req -in "$DIR/server.csr" -CA "$DIR/ca.pem" -CAkey "$DIR/ca-key.pem" -days 2 \
    -extfile "$DIR/ext" -out "$DIR/cert.pem" 2>/dev/null

step "A server on sled, with TLS and an audit file"
mkdir "$DIR/audit"
cat >"$DIR/vaultd.hcl" <<CONF
storage "sled" {
  path = "$DIR/data"
}
listener "tcp" {
  address       = "127.0.0.1:0"
  tls_cert_file = "$DIR/cert.pem"
  tls_key_file  = "$DIR/key.pem"
}
gateway {
  address       = "127.0.0.1:0"
  tls_cert_file = "$DIR/cert.pem"
  tls_key_file  = "$DIR/key.pem"
}
audit_dirs = ["$DIR/audit"]
audit "file" "file" {
  options = { file_path = "$DIR/audit/audit.log" }
}
CONF
"$BIN/vaultd" check-config "$DIR/vaultd.hcl"
start() {
    "$BIN/vaultd" server -config="$DIR/vaultd.hcl" >"$DIR/ready" 2>>"$DIR/log" &
    VAULTD_PID=$!
    for _ in $(seq 300); do
        grep -q '^vaultd ready:' "$DIR/ready" 2>/dev/null && break
        kill -0 "$VAULTD_PID" 2>/dev/null || { cat "$DIR/log" >&2; fail "vaultd did not start"; }
        sleep 0.05
    done
    VAULT_ADDR=$(sed -n 's/.* api=\([^ ]*\).*/\1/p' "$DIR/ready")
    GATEWAY=$(sed -n 's/.* gateway=\([^ ]*\).*/\1/p' "$DIR/ready")
    export VAULT_ADDR
    say "API $VAULT_ADDR, gateway $GATEWAY"
}
export VAULT_CACERT=$DIR/ca.pem HOME=$DIR
unset VAULT_TOKEN VAULT_NAMESPACE
cli() { "$BIN/vault-cli" "$@"; }
start
expect 2 cli status

step "Init 5/3: two shares leave it sealed, the third opens it"
cli operator init -key-shares=5 -key-threshold=3 -format=json >"$DIR/init.json"
share() { jq -r ".unseal_keys_b64[$1]" "$DIR/init.json"; }
ROOT=$(jq -r .root_token "$DIR/init.json")
share 0 | cli operator unseal - >/dev/null
share 1 | cli operator unseal - >/dev/null
expect 2 cli status
share 2 | cli operator unseal - >/dev/null
expect 0 cli status
# The token is read from standard input, not from the command line.
printf '%s' "$ROOT" | cli login - >/dev/null
say "logged in; the token lies in ~/.vault-token, mode $(stat -c %a "$DIR/.vault-token")"

step "Three versions of a secret: read each, undelete, check-and-set refused"
cli secrets enable -path=secret -version=2 kv >/dev/null
for n in 1 2 3; do
    printf 'password-%s-canary' "$n" >"$DIR/password"
    cli kv put -mount=secret app "password=@$DIR/password" >/dev/null
done
for n in 1 2 3; do
    same "$(cli kv get -mount=secret -version=$n -field=password app)" "password-$n-canary" "version $n"
done
cli kv delete -mount=secret -versions=3 app >/dev/null
expect 2 cli kv get -mount=secret app
cli kv undelete -mount=secret -versions=3 app >/dev/null
same "$(cli kv get -mount=secret -field=password app)" password-3-canary "after undelete"
expect 2 cli kv put -mount=secret -cas=1 app password=x
say "check-and-set with an old version was refused"

step "A policy lets an app read one path and nothing beside it"
printf 'path "secret/data/app" {\n  capabilities = ["read"]\n}\n' | cli policy write app-read - >/dev/null
APP=$(cli token create -policy=app-read -field=token)
VAULT_TOKEN=$APP cli kv get -mount=secret -field=password app >/dev/null
expect 2 env VAULT_TOKEN="$APP" "$BIN/vault-cli" kv get -mount=secret other
expect 2 env VAULT_TOKEN="$APP" "$BIN/vault-cli" kv put -mount=secret app password=x

step "The gateway: an app uses a key that it cannot read"
cat >"$DIR/upstream.py" <<'PY'
import http.server, json, ssl, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        auth = self.headers.get_all("Authorization") or []
        with open(sys.argv[1] + "/upstream.json", "w") as f:
            json.dump({"auth": auth, "path": self.path, "headers": dict(self.headers)}, f)
        body = json.dumps({"models": ["demo"], "you_sent": auth}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *a): pass
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1] + "/cert.pem", sys.argv[1] + "/key.pem")
server.socket = context.wrap_socket(server.socket, server_side=True)
with open(sys.argv[1] + "/upstream.port", "w") as f: f.write(str(server.server_port))
server.serve_forever()
PY
python3 "$DIR/upstream.py" "$DIR" &
UPSTREAM_PID=$!
for _ in $(seq 200); do [ -s "$DIR/upstream.port" ] && break; sleep 0.05; done
UPSTREAM="https://localhost:$(cat "$DIR/upstream.port")"
PROVIDER_KEY="sk-provider-canary-$(openssl rand -hex 12)"
printf '%s' "$PROVIDER_KEY" >"$DIR/provider"
cli kv put -mount=secret openai "key=@$DIR/provider" >/dev/null
cli secrets enable -path=gateway gateway >/dev/null
jq -n --arg up "$UPSTREAM" --rawfile ca "$DIR/ca.pem" '{
    upstream: $up, ca_cert: $ca, allow_private: true,
    credential: {path: "secret/data/openai", field: "key"},
    inject: {header: "Authorization", template: "Bearer {{credential}}"},
    allow: [{methods: ["GET"], path: "/v1/*"}],
    auth: [{type: "jwt", mount: "jwt", role: "app"}],
    rate_limit: {requests: 100, window: "1m"}, timeout: "5s"}' >"$DIR/service.json"
cli write gateway/services/openai - <"$DIR/service.json" >/dev/null
say "an identity provider of one's own: an RSA key that the vault only knows the public half of"
openssl genrsa -out "$DIR/idp.pem" 2048 2>/dev/null
openssl rsa -in "$DIR/idp.pem" -pubout -out "$DIR/idp.pub" 2>/dev/null
cli auth enable jwt >/dev/null
cli write auth/jwt/config "jwt_validation_pubkeys=@$DIR/idp.pub" bound_issuer=https://idp.example >/dev/null
printf 'path "gateway/proxy/openai/*" {\n  capabilities = ["invoke"]\n}\n' | cli policy write app-invoke - >/dev/null
cli write auth/jwt/role/app role_type=jwt user_claim=sub bound_audiences=gateway token_policies=app-invoke >/dev/null
b64() { openssl base64 -A | tr '+/' '-_' | tr -d '='; }
NOW=$(date +%s)
BODY="$(printf '{"alg":"RS256","typ":"JWT"}' | b64).$(printf '{"iss":"https://idp.example","aud":"gateway","sub":"quickstart","iat":%s,"exp":%s}' "$NOW" "$((NOW + 600))" | b64)"
JWT="$BODY.$(printf '%s' "$BODY" | openssl dgst -sha256 -sign "$DIR/idp.pem" -binary | b64)"
call() { curl -sS --cacert "$DIR/ca.pem" "$@"; }
ANSWER=$(call "$GATEWAY/openai/v1/models" -H "Authorization: Bearer $JWT")
same "$(jq -r '.auth | length' "$DIR/upstream.json")" 1 "auth headers that the upstream saw"
same "$(jq -r '.auth[0]' "$DIR/upstream.json")" "Bearer $PROVIDER_KEY" "the upstream's auth header"
case $ANSWER in *"$PROVIDER_KEY"*) fail "the reflected key reached the app" ;; esac
say "the upstream saw the provider's key; the app saw $(jq -c .you_sent <<<"$ANSWER")"
same "$(call -o /dev/null -w '%{http_code}' "$VAULT_ADDR/v1/secret/data/openai" -H "X-Vault-Token: $JWT")" 403 "reading the key with the JWT"
LOGIN=$(cli write -field=token auth/jwt/login role=app "jwt=$JWT")
expect 2 env VAULT_TOKEN="$LOGIN" "$BIN/vault-cli" kv get -mount=secret openai
printf 'path "gateway/services/*" {\n  capabilities = ["create", "update", "read"]\n}\n' | cli policy write gw-admin - >/dev/null
GWADMIN=$(cli token create -policy=gw-admin -field=token)
expect 2 env VAULT_TOKEN="$GWADMIN" "$BIN/vault-cli" write gateway/services/stolen "@$DIR/service.json"
say "who may write services but not read the key cannot bind it"

step "A TOTP code is accepted once"
cli secrets enable totp >/dev/null
cli write totp/keys/alice generate=true issuer=Example account_name=alice@example.com -format=json >"$DIR/totp.json"
CODE=$(cli read -field=code totp/code/alice)
same "$(cli write -field=valid totp/code/alice "code=$CODE")" true "the code"
SECOND=$(cli write -field=valid totp/code/alice "code=$CODE" 2>/dev/null || true)
[ "$SECOND" != true ] || fail "the code was accepted twice"

step "Rotate the barrier key; rekey from 5/3 to 3/2"
cli operator rotate >/dev/null
same "$(call "$VAULT_ADDR/v1/sys/key-status" -H "X-Vault-Token: $ROOT" | jq -r .data.term)" 2 "the term"
NONCE=$(cli operator rekey -init -key-shares=3 -key-threshold=2 -format=json | jq -r '.nonce // .data.nonce')
for n in 0 1 2; do
    share $n | cli operator rekey -nonce="$NONCE" -format=json - >"$DIR/rekey.json"
done
new_share() { jq -r "(.keys_base64 // .unseal_keys_b64 // .data.keys_base64)[$1]" "$DIR/rekey.json"; }

step "kill -9, restart: the old shares no longer open it, the new ones do"
kill -9 "$VAULTD_PID"
wait "$VAULTD_PID" 2>/dev/null || true
start
for n in 0 1 2 3 4; do
    share $n >"$DIR/one"
    expect 2 bash -c "'$BIN/vault-cli' operator unseal - <'$DIR/one'"
done
new_share 0 | cli operator unseal - >/dev/null
new_share 1 | cli operator unseal - >/dev/null
expect 0 cli status
same "$(cli kv get -mount=secret -version=2 -field=password app)" password-2-canary "version 2 after the restart"
same "$(call "$GATEWAY/openai/v1/models" -H "Authorization: Bearer $JWT" -o /dev/null -w '%{http_code}')" 200 "the gateway after the restart"

step "Seal: 503"
cli audit head >"$DIR/head"
cli operator seal >/dev/null
same "$(call -o /dev/null -w '%{http_code}' "$VAULT_ADDR/v1/secret/data/app" -H "X-Vault-Token: $ROOT")" 503 "reading while sealed"
expect 2 cli status

step "The audit file holds every step and none of the secrets"
"$BIN/vaultd" audit verify -head "$DIR/head" -through-head "$DIR/audit/audit.log"
for path in sys/mounts/secret secret/data/app secret/undelete/app sys/policies/acl/app-read auth/token/create \
    gateway/services/openai gateway/proxy/openai/v1/models auth/jwt/login totp/code/alice sys/rotate sys/rekey/init \
    sys/rekey/update sys/seal; do
    grep -q "\"path\":\"$path\"" "$DIR/audit/audit.log" || fail "no record of $path"
done
{
    printf '%s\n' "$ROOT" "$APP" "$LOGIN" "$GWADMIN" "$PROVIDER_KEY" "$JWT" password-1-canary password-2-canary password-3-canary
    for n in 0 1 2 3 4; do share $n; done
    for n in 0 1 2; do new_share $n; done
    jq -r '.unseal_keys_hex[]?' "$DIR/init.json"
    jq -r '(.data.url // .url) // empty' "$DIR/totp.json" | sed -n 's/.*secret=\([A-Z2-7]*\).*/\1/p'
} >"$DIR/secrets"
while read -r secret; do
    [ -z "$secret" ] || ! grep -qF -- "$secret" "$DIR/audit/audit.log" || fail "a secret is in the audit file"
done <"$DIR/secrets"
say "$(wc -l <"$DIR/audit/audit.log") records, $(wc -l <"$DIR/secrets") secrets looked for, none found"

printf '\nquickstart: everything worked\n'
