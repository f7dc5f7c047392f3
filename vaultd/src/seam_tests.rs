//! The gateway's way into a whole vault: core, engines and caches together, through their public
//! doors, on a clock that the test moves.

mod upstream;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{KeyPair, SigningKey};
use secmem::{Arena, ExposeSecret, SecretString};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use storage::{Backend, StoreConfig};
use vault_core::exchange::{Exchange, Incoming, ReplyBody, Verb};
use vault_core::{Core, CoreConfig, CoreHandle, Hooks, LocalDispatch, ProcessReport, SystemTtl};
use vault_logical::{
    Call, CallerCredential, Clock, Connection, Data, Dispatch, Egress, EgressRequest, EgressResponse, Error,
    ErrorKind, Grant, Over, Timestamp, Transport,
};

/// 2026-11-20T00:00:00Z
const START: i64 = 1_795_132_800;
const SOON: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

struct TestClock(AtomicI64);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_secs(self.0.load(Ordering::SeqCst))
    }
}

struct Nowhere;

#[async_trait]
impl Egress for Nowhere {
    async fn get(&self, _: EgressRequest) -> vault_logical::Result<EgressResponse> {
        Err(Error::new(ErrorKind::Upstream, "no way out"))
    }
}

struct NoHooks;

#[async_trait]
impl Hooks for NoHooks {
    async fn cut_streams(&self) {}
    async fn close_connections(&self) {}
    fn wipe_stacks(&self) {}
    fn fatal(&self, _: &str) {}
}

struct Vault {
    core: Arc<Core>,
    clock: Arc<TestClock>,
    root: String,
    issuer: KeyPair,
}

fn here() -> Connection {
    Connection { transport: Transport::Unix, remote: None }
}

impl Vault {
    /// Unsealed, with a key at `secret/data/openai`, the service `openai` for the role `app` and
    /// for tokens, and a policy `app` that may call it.
    async fn new() -> Vault {
        let clock = Arc::new(TestClock(AtomicI64::new(START)));
        let config = CoreConfig {
            store: StoreConfig {
                backend: Backend::Memory,
                path: Default::default(),
                state_dir: Default::default(),
                journal: Default::default(),
            },
            arena: Arena::open(None).expect("arena"),
            clock: clock.clone(),
            factories: vault_engines::factories(),
            egress: Arc::new(Nowhere),
            ttl: SystemTtl { default: 32 * DAY, max: 32 * DAY },
            audit_devices: Vec::new(),
            audit_dirs: Vec::new(),
            own_places: Vec::new(),
            audit_head: None,
            snapshots: None,
            allow_remote_init: false,
            version: "0".into(),
            cluster_name: "test".into(),
            process: ProcessReport::default(),
            hooks: Arc::new(NoHooks),
        };
        let core = Core::open(config).await.expect("core");
        let issuer = KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("key");
        let mut v = Vault { core, clock, root: String::new(), issuer };
        let made = v.write("sys/init", json!({"secret_shares": 1, "secret_threshold": 1})).await;
        v.root = made["root_token"].as_str().expect("root").to_owned();
        v.write("sys/unseal", json!({"key": made["keys"][0]})).await;
        v.write("sys/mounts/secret", json!({"type": "kv", "options": {"version": "2"}})).await;
        v.write("sys/mounts/gateway", json!({"type": "gateway"})).await;
        v.write("sys/auth/jwt", json!({"type": "jwt"})).await;
        let pem = v.issuer.public_key_pem();
        v.write(
            "auth/jwt/config",
            json!({"jwt_validation_pubkeys": [pem], "bound_issuer": "https://idp.example"}),
        )
        .await;
        for role in ["app", "other"] {
            v.role(role).await;
        }
        let invoke = "path \"gateway/proxy/openai/*\" { capabilities = [\"invoke\"] }";
        let login = "path \"auth/token/create\" { capabilities = [\"update\"] }";
        v.write("sys/policies/acl/app", json!({"policy": format!("{invoke}\n{login}")})).await;
        v.write("secret/data/openai", json!({"data": {"key": "sk-0123456789abcdef"}})).await;
        v.bind("app").await;
        v
    }

    async fn role(&self, name: &str) {
        let role = json!({
            "role_type": "jwt", "bound_audiences": ["gateway"], "user_claim": "sub", "token_policies": ["app"],
            "expiration_leeway": -1, "clock_skew_leeway": -1,
        });
        self.write(&format!("auth/jwt/role/{name}"), role).await;
    }

    async fn bind(&self, role: &str) {
        let service = json!({
            "upstream": "https://api.example", "credential": {"path": "secret/data/openai", "field": "key"},
            "inject": {"header": "Authorization", "template": "Bearer {{credential}}"},
            "allow": [{"methods": ["GET"], "path": "/v1/*"}],
            "auth": [{"type": "jwt", "mount": "jwt", "role": role}, {"type": "token"}],
            "caller_header": "authorization", "timeout": "5s",
        });
        self.write("gateway/services/openai", service).await;
    }

    async fn request(&self, verb: Verb, path: &str, token: &str, data: Value) -> Result<Value, Error> {
        let Value::Object(data) = data else { panic!("an object") };
        let incoming = Incoming {
            id: uuid::Uuid::new_v4(),
            verb,
            path: path.into(),
            token: (!token.is_empty()).then(|| SecretString::from(token.to_owned())),
            namespace: String::new(),
            data: Data::from_iter(data),
            wrap_ttl: None,
            merge_patch: false,
            connection: here(),
        };
        match CoreHandle(self.core.clone()).handle(incoming).await.body {
            ReplyBody::Error(e) => Err(e),
            ReplyBody::Bare { json, .. } => Ok(json),
            ReplyBody::Download(_) => panic!("{path}: a file"),
            ReplyBody::Envelope { response, auth, .. } => Ok(json!({
                "data": response.data,
                "token": auth.as_ref().map(|a| a.client_token.expose_secret().to_owned()),
                "accessor": auth.as_ref().map(|a| a.accessor.clone()),
            })),
        }
    }

    async fn write(&self, path: &str, data: Value) -> Value {
        self.request(Verb::Write, path, &self.root, data).await.unwrap_or_else(|e| panic!("{path}: {e}"))
    }

    /// A token made by `maker`.
    async fn token(&self, maker: &str, data: Value) -> String {
        let made = self.request(Verb::Write, "auth/token/create", maker, data).await.expect("token");
        made["token"].as_str().expect("token").to_owned()
    }

    fn jwt(&self, subject: &str, lives: i64) -> String {
        let now = self.clock.0.load(Ordering::SeqCst);
        let claims = json!({"iss": "https://idp.example", "aud": "gateway", "sub": subject, "iat": now, "exp": now + lives});
        let part = |v: Value| URL_SAFE_NO_PAD.encode(v.to_string());
        let signed = format!("{}.{}", part(json!({"alg": "EdDSA", "typ": "JWT"})), part(claims));
        let signature = self.issuer.sign(signed.as_bytes()).expect("signature");
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    async fn login(&self, jwt: &str) -> String {
        let made = self.request(Verb::Write, "auth/jwt/login", "", json!({"role": "app", "jwt": jwt})).await;
        made.expect("login")["token"].as_str().expect("token").to_owned()
    }

    async fn invoke(&self, credential: &str) -> Result<Grant, ErrorKind> {
        let call = Call {
            request_id: uuid::Uuid::new_v4(),
            mount: "gateway/".into(),
            service: "openai".into(),
            method: "GET".into(),
            path: "/v1/x".into(),
            credential: CallerCredential(SecretString::from(credential.to_owned())),
            connection: here(),
            user_agent: String::new(),
            started: std::time::Instant::now(),
        };
        LocalDispatch(self.core.clone()).authorize(call).await.map_err(|e| e.kind())
    }

    async fn granted(&self, credential: &str) -> Grant {
        self.invoke(credential).await.expect("granted")
    }

    async fn caller(&self, credential: &str) -> String {
        self.granted(credential).await.caller_id
    }

    fn pass(&self, seconds: i64) {
        self.clock.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

async fn ends(over: Over) {
    tokio::time::timeout(SOON, over).await.expect("it never ends");
}

/// Still going on after it was looked at twice.
async fn lasts(over: &mut Over) {
    assert!(tokio::time::timeout(Duration::from_millis(2500), over).await.is_err(), "it ended");
}

#[tokio::test]
async fn a_spent_token_calls_no_more_and_its_last_call_revokes_it() {
    let v = Vault::new().await;
    let made = v.write("auth/token/create", json!({"policies": ["app"], "num_uses": 2})).await;
    let token = made["token"].as_str().expect("token");
    let accessor = json!({"accessor": made["accessor"]});
    // Its accessor is listed as long as the token has not been revoked: one that is merely spent is.
    let listed = async || {
        let all = v.request(Verb::List, "auth/token/accessors/", &v.root, json!({})).await.expect("list");
        let keys = all["data"]["keys"].as_array().expect("keys").clone();
        keys.contains(&made["accessor"])
    };
    v.granted(token).await;
    v.write("auth/token/lookup-accessor", accessor.clone()).await;
    assert!(listed().await);
    let mut last = v.granted(token).await;
    assert!(!listed().await, "the last call did not revoke the token");
    assert_eq!(v.invoke(token).await.err(), Some(ErrorKind::Unauthenticated), "a third call");
    let gone = v.request(Verb::Write, "auth/token/lookup-accessor", &v.root, accessor).await;
    assert!(gone.is_err(), "the token is still there");
    // The call that it was spent on goes on.
    lasts(&mut last.over).await;
}

/// All of them find the token before the first has spent it.
#[tokio::test]
async fn of_many_calls_at_once_as_many_go_out_as_the_token_has_uses() {
    let v = Vault::new().await;
    for uses in [1, 3] {
        let token = v.token(&v.root, json!({"policies": ["app"], "num_uses": uses})).await;
        let calls = futures_util::future::join_all((0..24).map(|_| v.invoke(&token))).await;
        let (granted, refused): (Vec<_>, Vec<_>) = calls.into_iter().partition(Result::is_ok);
        assert_eq!(granted.len(), uses);
        assert!(refused.into_iter().all(|r| r.err() == Some(ErrorKind::Unauthenticated)));
    }
}

#[tokio::test]
async fn a_cached_identity_ends_with_its_jwt() {
    let v = Vault::new().await;
    let jwt = v.jwt("alice", 30);
    let grant = v.granted(&jwt).await;
    v.pass(29);
    v.granted(&jwt).await;
    v.pass(1);
    assert_eq!(v.invoke(&jwt).await.err(), Some(ErrorKind::Unauthenticated));
    ends(grant.over).await;
}

#[tokio::test]
async fn a_cached_key_ends_with_its_version() {
    let v = Vault::new().await;
    v.write("secret/metadata/openai", json!({"delete_version_after": "30s"})).await;
    v.write("secret/data/openai", json!({"data": {"key": "sk-short-lived-0123456789"}})).await;
    let jwt = v.jwt("alice", 3600);
    v.granted(&jwt).await;
    v.pass(29);
    v.granted(&jwt).await;
    v.pass(1);
    assert_eq!(v.invoke(&jwt).await.err(), Some(ErrorKind::Upstream), "the deleted key is still used");
}

#[tokio::test]
async fn only_a_change_of_the_secret_or_the_service_makes_new_connections() {
    let v = Vault::new().await;
    let jwt = v.jwt("alice", 36_000);
    let first = v.granted(&jwt).await.config_epoch;
    for n in 0..3 {
        v.write("secret/data/neighbour", json!({"data": {"n": n}})).await;
        v.write(&format!("secret/metadata/n{n}"), json!({"max_versions": 2})).await;
        assert_eq!(v.granted(&jwt).await.config_epoch, first, "a neighbour was written");
    }
    v.write("sys/mounts/elsewhere", json!({"type": "kv"})).await;
    assert_eq!(v.granted(&jwt).await.config_epoch, first, "another mount was made");
    // Read again because its time is up: the same key.
    v.pass(3600);
    assert_eq!(v.granted(&jwt).await.config_epoch, first, "read again");
    v.bind("app").await;
    let second = v.granted(&jwt).await.config_epoch;
    assert_ne!(second.0, first.0, "the service changed");
    assert_eq!(second.1, first.1);
    v.write("secret/data/openai", json!({"data": {"key": "sk-another-0123456789"}})).await;
    let third = v.granted(&jwt).await;
    assert_ne!(third.config_epoch.1, first.1, "the key changed");
    assert!(third.credential.with(|k| k == b"sk-another-0123456789").expect("key"));
    v.request(Verb::Delete, "secret/data/openai", &v.root, json!({})).await.expect("delete");
    assert_eq!(v.invoke(&jwt).await.err(), Some(ErrorKind::Upstream));
}

#[tokio::test]
async fn a_caller_is_counted_by_its_login_and_never_gets_a_fresh_count() {
    let v = Vault::new().await;
    let alice = v.caller(&v.jwt("alice", 600)).await;
    assert_ne!(v.caller(&v.jwt("bob", 600)).await, alice);
    v.pass(1);
    let login = v.login(&v.jwt("alice", 600)).await;
    assert_eq!(v.caller(&login).await, alice, "a token of the same subject");
    let child = v.token(&login, json!({"display_name": "fresh"})).await;
    assert_eq!(v.caller(&child).await, alice, "a child");
    let grandchild = v.token(&child, json!({"display_name": "fresher", "num_uses": 9})).await;
    assert_eq!(v.caller(&grandchild).await, alice, "and its child");
    v.bind("other").await;
    assert_eq!(v.caller(&v.jwt("alice", 600)).await, alice, "through another role");
}

#[tokio::test]
async fn apps_of_one_administrator_are_counted_each_and_their_children_with_them() {
    let v = Vault::new().await;
    // Tokens of root, neither with a display name.
    let (a, b) = (
        v.token(&v.root, json!({"policies": ["app"]})).await,
        v.token(&v.root, json!({"policies": ["app"]})).await,
    );
    let (ca, cb) = (v.caller(&a).await, v.caller(&b).await);
    assert_ne!(ca, cb);
    assert_eq!(v.caller(&v.token(&a, json!({"display_name": "x"})).await).await, ca);
    // An administrator who cannot invoke.
    let policy = "path \"auth/token/create\" { capabilities = [\"update\", \"sudo\"] }\n\
                  path \"gateway/+/openai/other/*\" { capabilities = [\"read\"] }\n\
                  path \"gateway/+/elsewhere/*\" { capabilities = [\"invoke\"] }";
    v.write("sys/policies/acl/admin", json!({"policy": policy})).await;
    let admin = v.token(&v.root, json!({"policies": ["admin"]})).await;
    let apps = [
        v.token(&admin, json!({"policies": ["app"]})).await,
        v.token(&admin, json!({"policies": ["app"]})).await,
    ];
    let counted = [v.caller(&apps[0]).await, v.caller(&apps[1]).await];
    assert_ne!(counted[0], counted[1], "two apps share a count");
    assert_eq!(v.caller(&v.token(&apps[0], json!({})).await).await, counted[0]);
    // One who can is the one who is counted, whatever it hands out.
    for (name, path) in
        [("wide", "gateway/*"), ("plus", "gateway/+/openai/*"), ("inner", "gateway/proxy/openai/v1/y")]
    {
        let policy = format!(
            "path \"auth/token/create\" {{ capabilities = [\"update\", \"sudo\"] }}\npath \"{path}\" {{ capabilities = [\"invoke\"] }}"
        );
        v.write(&format!("sys/policies/acl/{name}"), json!({"policy": policy})).await;
        let user = v.token(&v.root, json!({"policies": [name]})).await;
        let children = [
            v.token(&user, json!({"policies": ["app"]})).await,
            v.token(&user, json!({"policies": ["app"]})).await,
        ];
        assert_eq!(
            v.caller(&children[0]).await,
            v.caller(&children[1]).await,
            "{name}: a child got a new count"
        );
    }
    // What a stronger rule denies is no grant.
    let policy = "path \"auth/token/create\" { capabilities = [\"update\", \"sudo\"] }\n\
                  path \"gateway/*\" { capabilities = [\"invoke\"] }\n\
                  path \"gateway/proxy/openai/*\" { capabilities = [\"deny\"] }";
    v.write("sys/policies/acl/denied", json!({"policy": policy})).await;
    let user = v.token(&v.root, json!({"policies": ["denied"]})).await;
    let children = [
        v.token(&user, json!({"policies": ["app"]})).await,
        v.token(&user, json!({"policies": ["app"]})).await,
    ];
    assert_ne!(v.caller(&children[0]).await, v.caller(&children[1]).await);
}

#[tokio::test]
async fn a_call_under_way_ends_with_its_token_its_parent_and_its_login_method() {
    let v = Vault::new().await;
    let token = v.token(&v.root, json!({"policies": ["app"]})).await;
    let mut grant = v.granted(&token).await;
    lasts(&mut grant.over).await;
    v.write("auth/token/revoke", json!({"token": token})).await;
    ends(grant.over).await;
    // A parent of a token that was spent on the call.
    let parent = v.token(&v.root, json!({"policies": ["app"]})).await;
    let child = v.token(&parent, json!({"num_uses": 1})).await;
    let grant = v.granted(&child).await;
    v.write("auth/token/revoke", json!({"token": parent})).await;
    ends(grant.over).await;
    // Expiry.
    let short = v.token(&v.root, json!({"policies": ["app"], "ttl": "60s"})).await;
    let grant = v.granted(&short).await;
    v.pass(60);
    ends(grant.over).await;
    // The method that vouched for a JWT.
    let grant = v.granted(&v.jwt("alice", 600)).await;
    v.request(Verb::Delete, "sys/auth/jwt", &v.root, json!({})).await.expect("disable");
    ends(grant.over).await;
    // The vault.
    let grant = v.granted(&v.token(&v.root, json!({"policies": ["app"]})).await).await;
    v.core.seal().await;
    ends(grant.over).await;
}
