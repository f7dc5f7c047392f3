//! Tests of the token store over a real store in memory.

mod grants;
mod lifecycle;
mod model;
mod routes;
mod sweeping;
mod uses;

use super::*;
use crate::exchange::IssuedAuth;
use secmem::{Arena, ExposeSecret, SecretString};
use serde_json::Value;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use storage::{Backend, Cipher, InitParams, SealedStore, StoreConfig, Transaction};
use vault_logical::{Data, Error, Operation, Response, Timestamp};

/// 2026-11-20T00:00:00Z
const START: i64 = 1_795_132_800;

/// A clock that stands still until it is moved.
struct TestClock(AtomicI64);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_nanos(self.0.load(Ordering::SeqCst))
    }
}

impl TestClock {
    fn advance(&self, d: Duration) {
        self.0.fetch_add(i64::try_from(d.as_nanos()).unwrap(), Ordering::SeqCst);
    }
}

/// An unsealed store with one root token.
struct Bench {
    tokens: TokenStore,
    store: Store,
    clock: Arc<TestClock>,
    key: secmem::Key,
    root: SecretString,
    cubbyhole: Space,
    _dir: tempfile::TempDir,
}

const HOUR: Duration = Duration::from_secs(3600);
const DEFAULTS: TtlDefaults =
    TtlDefaults { default_ttl: Duration::from_secs(768 * 3600), max_ttl: Duration::from_secs(768 * 3600) };

impl Bench {
    async fn new() -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let arena = Arena::open(None).unwrap();
        let config = StoreConfig {
            backend: Backend::Memory,
            path: dir.path().join("store"),
            state_dir: dir.path().to_path_buf(),
            journal: Default::default(),
        };
        let sealed =
            SealedStore::open(config, arena.clone(), Arc::new(|| START * 1_000_000_000)).await.unwrap();
        let params = InitParams { shares: 1, threshold: 1, cipher: Cipher::default() };
        let shares = sealed.begin_init(params).await.unwrap().finish().await.unwrap();
        let store = sealed.unseal(&shares, false).await.unwrap();
        let clock = Arc::new(TestClock(AtomicI64::new(START * 1_000_000_000)));
        let key = arena.random(32).unwrap();
        let cubbyhole = Space::mount(uuid::Uuid::from_u128(7));
        let tokens = token_store(&store, &key, &clock, cubbyhole);
        let mut bench = Bench { tokens, store, clock, key, root: String::new().into(), cubbyhole, _dir: dir };
        bench.root = bench.make(NewToken::root()).await.unwrap().client_token;
        bench
    }

    /// The same store behind a token store that has nothing in memory, as after a restart.
    fn restarted(&self) -> TokenStore {
        token_store(&self.store, &self.key, &self.clock, self.cubbyhole)
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    async fn make(&self, new: NewToken) -> Result<IssuedAuth, Error> {
        let mut txn = self.store.begin();
        let auth = self.tokens.create(&mut txn, new).await?;
        txn.commit().await.map_err(crate::fault::commit)?;
        Ok(auth)
    }

    async fn entry(&self, id: &SecretString) -> Option<Arc<TokenEntry>> {
        self.tokens.lookup(id.expose_secret()).await.unwrap()
    }

    async fn lives(&self, id: &SecretString) -> bool {
        self.entry(id).await.is_some()
    }

    /// A request as the pipeline makes it: looked up, pinned, handled, committed.
    async fn call(&self, as_token: &SecretString, path: &str, body: Value) -> Outcome {
        self.operate(Operation::Update, as_token, path, body).await
    }

    async fn operate(&self, operation: Operation, token: &SecretString, path: &str, body: Value) -> Outcome {
        self.request(operation, token, path, body, false).await
    }

    async fn request(
        &self,
        operation: Operation,
        token: &SecretString,
        path: &str,
        body: Value,
        sudo: bool,
    ) -> Outcome {
        let caller = self.entry(token).await.ok_or_else(Error::denied)?;
        let mut txn = self.store.begin();
        self.tokens.pin(&mut txn, &caller);
        let data: Data = body.as_object().cloned().unwrap_or_default();
        let call = TokenCall {
            operation,
            path,
            data: &data,
            caller: &caller,
            presented: token.expose_secret(),
            sudo: sudo || caller.root,
        };
        let (response, auth) = self.tokens.handle(&mut txn, call).await?;
        txn.commit().await.map_err(crate::fault::commit)?;
        Ok((response, auth))
    }

    /// A child of `parent` with these fields.
    async fn child(&self, parent: &SecretString, body: Value) -> SecretString {
        self.call(parent, "create", body).await.unwrap().1.unwrap().client_token
    }

    /// The `data` of a lookup by the root token.
    async fn describe(&self, token: &SecretString) -> Result<Data, Error> {
        let body = serde_json::json!({"token": token.expose_secret()});
        Ok(self.call(&self.root, "lookup", body).await?.0.data.unwrap())
    }

    /// Sweeps until there is nothing left to do at this time.
    async fn sweep(&self) -> SweepReport {
        let mut all = SweepReport::default();
        for _ in 0..10_000 {
            let r = self.tokens.sweep(self.now()).await.unwrap();
            all.expired += r.expired;
            all.moved += r.moved;
            all.removed += r.removed;
            all.jobs += r.jobs;
            all.failed += r.failed;
            if !r.more {
                return all;
            }
        }
        panic!("the sweeper does not come to an end");
    }

    /// Every record path below `token/`, but for the sweeper's own cursor.
    async fn records(&self) -> Vec<String> {
        let mut out = walk(&self.store, Space::core(), "token/").await;
        out.retain(|p| p != "token/cursor");
        out
    }
}

type Outcome = Result<(Response, Option<IssuedAuth>), Error>;

fn token_store(store: &Store, key: &secmem::Key, clock: &Arc<TestClock>, cubbyhole: Space) -> TokenStore {
    let tokens = TokenStore::new(store.clone(), key.clone(), clock.clone(), DEFAULTS);
    tokens.set_cubbyhole(cubbyhole);
    let told = tokens.clone();
    store.on_change(Arc::new(move |seq, changes| {
        for c in changes.iter().filter(|c| c.space == Space::core()) {
            told.invalidate(&c.path, seq);
        }
    }));
    tokens
}

async fn walk(store: &Store, space: Space, dir: &str) -> Vec<String> {
    let mut folders = vec![dir.to_string()];
    let mut out = Vec::new();
    while let Some(dir) = folders.pop() {
        for name in store.list(space, &dir, None, 100_000).await.unwrap() {
            let path = format!("{dir}{name}");
            if path.ends_with('/') { folders.push(path) } else { out.push(path) }
        }
    }
    out.sort();
    out
}

fn message(outcome: Outcome) -> String {
    match outcome {
        Ok(_) => panic!("expected a refusal"),
        Err(e) => e.message().to_string(),
    }
}

async fn put(txn: &mut Transaction, space: Space, path: &str) {
    txn.put(space, path, b"x".to_vec().into()).unwrap();
}
