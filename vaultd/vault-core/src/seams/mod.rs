//! Tests of what joins the layers: a whole core behind its public API ([`Exchange`]), with an
//! engine that can be stopped in the middle of a request.

mod figures;
mod isolation;
mod races;

use crate::audit::DeviceConfig;
use crate::exchange::{Exchange, Incoming, Reply, ReplyBody, Verb};
use crate::{Core, CoreConfig, CoreHandle, Hooks, ProcessReport, SystemTtl};
use async_trait::async_trait;
use parking_lot::Mutex;
use secmem::{Arena, ExposeSecret, SecretString};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use storage::{Backend, StoreConfig};
use tokio::sync::Semaphore;
use vault_logical::{
    Auth, Charge, Clock, Connection, Context, Data, Descriptor, Egress, EgressRequest, EgressResponse,
    Engine, EngineKind, Error, ErrorKind, Factory, Operation, Request, Response, Result, SystemClock,
    Timestamp, Transport, ViewExt,
};

const HOUR: Duration = Duration::from_secs(3600);
const TTL: SystemTtl = SystemTtl { default: HOUR, max: Duration::from_secs(10 * 3600) };

/// Where requests to `gate/` stop, and how often the engine ran.
struct Gate {
    arrived: Semaphore,
    open: Semaphore,
    runs: AtomicUsize,
}

impl Gate {
    async fn stop(&self) {
        self.runs.fetch_add(1, Ordering::SeqCst);
        self.arrived.add_permits(1);
        self.open.acquire().await.unwrap().forget();
    }
}

static DESCRIPTOR: Descriptor = Descriptor {
    type_name: "gate",
    kind: EngineKind::Secret,
    description: "stops a request until it is let go",
    unauthenticated: &[],
    sudo: &["guarded/*"],
    audit_clear: &[],
    paths: &[],
};

struct GateEngine(String);

/// Gates by mount path, so that tests in one process do not share one.
static GATES: Mutex<Vec<(String, Arc<Gate>)>> = Mutex::new(Vec::new());

fn gate(mount: &str) -> Arc<Gate> {
    let mut gates = GATES.lock();
    if let Some((_, g)) = gates.iter().find(|(m, _)| m == mount) {
        return g.clone();
    }
    let made =
        Arc::new(Gate { arrived: Semaphore::new(0), open: Semaphore::new(0), runs: AtomicUsize::new(0) });
    gates.push((mount.to_string(), made.clone()));
    made
}

#[async_trait]
impl Engine for GateEngine {
    fn descriptor(&self) -> &'static Descriptor {
        &DESCRIPTOR
    }

    async fn handle(&self, cx: &mut Context<'_>, r: &Request, _charge: Option<&Charge>) -> Result<Response> {
        let record = format!("at/{}", r.path);
        match r.operation {
            Operation::Read => match cx.view.get_json::<Data>(&record).await? {
                Some(d) => Ok(Response::data(d)),
                None => Err(Error::not_found()),
            },
            _ => {
                cx.view.put_json(&record, &r.data).await?;
                if r.path.starts_with("wait") {
                    gate(&self.0).stop().await;
                }
                Ok(Response::empty())
            }
        }
    }

    fn check_options(&self, options: &std::collections::BTreeMap<String, String>) -> Result<()> {
        if options.contains_key("refused") {
            Err(Error::invalid("option refused by its engine"))
        } else {
            Ok(())
        }
    }
}

static LOGIN: Descriptor = Descriptor {
    type_name: "anyone",
    kind: EngineKind::Auth,
    description: "lets anyone in, with what they ask for",
    unauthenticated: &["login"],
    sudo: &[],
    audit_clear: &[],
    paths: &[],
};

struct Anyone;

#[async_trait]
impl Engine for Anyone {
    fn descriptor(&self) -> &'static Descriptor {
        &LOGIN
    }
    async fn handle(&self, cx: &mut Context<'_>, r: &Request, _charge: Option<&Charge>) -> Result<Response> {
        if r.data.contains_key("wait") {
            gate(&cx.mount.path).stop().await;
        }
        let seconds = |name| vault_logical::field::duration(&r.data, name).map(Option::unwrap_or_default);
        let auth = Auth {
            alias: "anyone".into(),
            display_name: "anyone".into(),
            policies: vec!["default".into()],
            ttl: seconds("ttl")?,
            period: seconds("period")?,
            ..Auth::default()
        };
        Ok(Response { auth: Some(auth), ..Response::empty() })
    }
}

macro_rules! secret {
    ($name:literal) => {
        Factory {
            type_name: $name,
            kind: EngineKind::Secret,
            make: |mount, _| {
                if mount.options.contains_key("unmakeable") {
                    return Err(Error::invalid("options that no engine can be made of"));
                }
                Ok(Arc::new(GateEngine(mount.path.clone())))
            },
        }
    };
}

const LOGINS: Factory =
    Factory { type_name: "anyone", kind: EngineKind::Auth, make: |_, _| Ok(Arc::new(Anyone)) };
static ALL: &[Factory] = &[secret!("cubbyhole"), secret!("gate"), secret!("later"), LOGINS];
/// The same server, older: without the engine `later`.
static OLDER: &[Factory] = &[secret!("cubbyhole"), secret!("gate"), LOGINS];

struct NoEgress;

#[async_trait]
impl Egress for NoEgress {
    async fn get(&self, _request: EgressRequest) -> Result<EgressResponse> {
        Err(Error::new(ErrorKind::Upstream, "none here"))
    }
}

struct NoHooks;

#[async_trait]
impl Hooks for NoHooks {
    async fn cut_streams(&self) {}
    async fn close_connections(&self) {}
    fn wipe_stacks(&self) {}
    fn fatal(&self, why: &str) {
        panic!("storage failed: {why}");
    }
}

/// The machine's clock, so many seconds ahead.
#[derive(Default)]
struct Ahead(AtomicU64);

impl Clock for Ahead {
    fn now(&self) -> Timestamp {
        SystemClock.now().plus(Duration::from_secs(self.0.load(Ordering::SeqCst)))
    }
}

/// A directory over which cores come and go.
struct Home {
    clock: Arc<Ahead>,
    dir: tempfile::TempDir,
    keys: Mutex<Vec<String>>,
}

/// A running core.
#[derive(Clone)]
struct Vault {
    handle: CoreHandle,
    root: String,
}

/// What came back.
#[derive(Debug)]
struct Answer {
    result: Result<Value>,
    token: Option<String>,
    lease: u64,
}

impl Answer {
    #[track_caller]
    fn ok(self) -> Value {
        self.result.unwrap()
    }
    #[track_caller]
    fn refused(self, kind: ErrorKind) -> String {
        let e = self.result.unwrap_err();
        assert_eq!(e.kind(), kind, "{e}");
        e.message().to_string()
    }
    #[track_caller]
    fn denied(self) {
        self.refused(ErrorKind::PermissionDenied);
    }
}

impl Home {
    fn new() -> Home {
        Home { clock: Arc::default(), dir: tempfile::tempdir().unwrap(), keys: Mutex::default() }
    }

    fn pass(&self, seconds: u64) {
        self.clock.0.fetch_add(seconds, Ordering::SeqCst);
    }

    async fn open(&self, factories: &'static [Factory], devices: Vec<DeviceConfig>) -> Vault {
        let path = |name| self.dir.path().join(name);
        let config = CoreConfig {
            store: StoreConfig {
                backend: Backend::Redb,
                path: path("data"),
                state_dir: path("state"),
                journal: Default::default(),
            },
            arena: Arena::open(None).unwrap(),
            clock: self.clock.clone(),
            factories,
            egress: Arc::new(NoEgress),
            ttl: TTL,
            audit_devices: devices,
            audit_dirs: vec![path("audit")],
            own_places: Vec::new(),
            audit_head: None,
            allow_remote_init: false,
            version: "0".into(),
            snapshots: None,
            cluster_name: "test".into(),
            process: ProcessReport::default(),
            hooks: Arc::new(NoHooks),
        };
        std::fs::create_dir_all(path("state")).unwrap();
        std::fs::create_dir_all(path("audit")).unwrap();
        let core = Core::open(config).await.unwrap();
        Vault { handle: CoreHandle(core), root: String::new() }
    }

    /// A new vault, unsealed, with an engine at `<name>/`.
    async fn start(&self, name: &str) -> Vault {
        let mut v = self.open(ALL, Vec::new()).await;
        let made = v
            .call(Verb::Write, "sys/init", "", json!({"secret_shares": 1, "secret_threshold": 1}))
            .await
            .ok();
        *self.keys.lock() = vec![made["keys"][0].as_str().unwrap().to_string()];
        v.root = made["root_token"].as_str().unwrap().to_string();
        self.unseal(&v).await;
        v.write(&format!("sys/mounts/{name}"), json!({"type": "gate"})).await.ok();
        v
    }

    async fn unseal(&self, v: &Vault) {
        let key = self.keys.lock()[0].clone();
        let status = v.call(Verb::Write, "sys/unseal", "", json!({ "key": key })).await.ok();
        assert_eq!(status["sealed"], false, "{status}");
    }
}

impl Vault {
    async fn call(&self, verb: Verb, path: &str, token: &str, data: Value) -> Answer {
        self.within(verb, path, token, data, "").await
    }

    async fn within(&self, verb: Verb, path: &str, token: &str, data: Value, namespace: &str) -> Answer {
        let connection =
            Connection { transport: Transport::Tls, remote: Some("127.0.0.1:9".parse().unwrap()) };
        self.over(connection, verb, path, token, data, namespace).await
    }

    /// As root, over the operator's socket.
    async fn local(&self, verb: Verb, path: &str) -> Answer {
        let connection = Connection { transport: Transport::Unix, remote: None };
        self.over(connection, verb, path, &self.root, Value::Null, "").await
    }

    async fn over(
        &self,
        connection: Connection,
        verb: Verb,
        path: &str,
        token: &str,
        data: Value,
        namespace: &str,
    ) -> Answer {
        let incoming = Incoming {
            id: uuid::Uuid::new_v4(),
            verb,
            path: path.to_string(),
            token: Some(token).filter(|t| !t.is_empty()).map(SecretString::from),
            namespace: namespace.to_string(),
            data: data.as_object().cloned().unwrap_or_default(),
            wrap_ttl: None,
            merge_patch: false,
            connection,
        };
        answer(self.handle.handle(incoming).await)
    }

    /// As root.
    async fn write(&self, path: &str, data: Value) -> Answer {
        self.call(Verb::Write, path, &self.root, data).await
    }
    async fn read(&self, path: &str) -> Answer {
        self.call(Verb::Read, path, &self.root, Value::Null).await
    }

    /// A token with one policy of this text, and its accessor.
    async fn token(&self, name: &str, policy: &str) -> String {
        self.write(&format!("sys/policies/acl/{name}"), json!({ "policy": policy })).await.ok();
        self.write("auth/token/create", json!({ "policies": [name] })).await.token.unwrap()
    }

    /// Starts a write that stops inside the engine, and waits until it is there.
    async fn stopped_write(&self, mount: &str, path: &str, token: &str) -> tokio::task::JoinHandle<Answer> {
        let (v, path, token) = (self.clone(), format!("{mount}{path}"), token.to_string());
        let under_way =
            tokio::spawn(async move { v.call(Verb::Write, &path, &token, json!({"k": "v"})).await });
        gate(mount).arrived.acquire().await.unwrap().forget();
        under_way
    }
}

fn answer(reply: Reply) -> Answer {
    match reply.body {
        ReplyBody::Bare { json, .. } => Answer { result: Ok(json), token: None, lease: 0 },
        ReplyBody::Download(_) => Answer { result: Ok(Value::Null), token: None, lease: 0 },
        ReplyBody::Error(e) => Answer { result: Err(e), token: None, lease: 0 },
        ReplyBody::Envelope { response, auth, .. } => Answer {
            result: Ok(response.data.map_or(Value::Null, Value::Object)),
            lease: auth.as_ref().map_or(0, |a| a.lease_duration.as_secs()),
            token: auth.map(|a| a.client_token.expose_secret().to_string()),
        },
    }
}
