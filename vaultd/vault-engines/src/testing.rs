//! A bench for engines: an in-memory store with optimistic transactions as the core runs them, a
//! clock that tests move, and the order of a request (prepare, existence, charge, handle, commit).

use async_trait::async_trait;
use parking_lot::Mutex;
use secmem::Zeroizing;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use vault_logical::{
    Caller, Clock, Connection, Context, Data, Egress, EgressRequest, EgressResponse, Engine, Entry, Error,
    ErrorKind, Factory, Mount, MountConfig, Operation, Request, Response, Result, SecretReader, Timestamp,
    TokenKind, Transport, View,
};

/// Operations and bytes that one request may write, less what the core keeps for itself.
const TXN_OPS: usize = 100 - 16;
const TXN_BYTES: usize = 1024 * 1024;
/// As in the core.
const RETRIES: usize = 8;
/// 2026-11-20T00:00:00Z.
pub(crate) const START: i64 = 1_795_132_800;

pub(crate) struct TestClock(AtomicI64);

impl TestClock {
    pub(crate) fn set(&self, unix_secs: i64) {
        self.0.store(unix_secs * 1_000_000_000, Ordering::SeqCst);
    }
    pub(crate) fn advance(&self, by: Duration) {
        self.0.fetch_add(by.as_nanos() as i64, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_nanos(self.0.load(Ordering::SeqCst))
    }
}

#[derive(Default)]
struct State {
    records: BTreeMap<String, (u64, Vec<u8>)>,
    seq: u64,
}

type Store = Arc<Mutex<State>>;

/// One optimistic transaction.
struct MemView {
    store: Store,
    reads: BTreeMap<String, Option<u64>>,
    writes: BTreeMap<String, Option<Vec<u8>>>,
}

impl MemView {
    fn new(store: &Store) -> Self {
        MemView { store: store.clone(), reads: BTreeMap::new(), writes: BTreeMap::new() }
    }

    /// `false`: something it read has changed since.
    fn commit(self) -> bool {
        let bytes: usize = self.writes.iter().map(|(k, v)| k.len() + v.as_ref().map_or(0, Vec::len)).sum();
        assert!(self.writes.len() <= TXN_OPS, "{} operations in one transaction", self.writes.len());
        assert!(bytes <= TXN_BYTES, "{bytes} bytes in one transaction");
        let mut s = self.store.lock();
        if self.reads.iter().any(|(k, rev)| s.records.get(k).map(|r| r.0) != *rev) {
            return false;
        }
        s.seq += 1;
        let seq = s.seq;
        for (k, v) in self.writes {
            match v {
                Some(v) => s.records.insert(k, (seq, v)),
                None => s.records.remove(&k),
            };
        }
        true
    }
}

#[async_trait]
impl View for MemView {
    async fn get(&mut self, path: &str) -> Result<Option<Entry>> {
        tokio::task::yield_now().await; // let other requests in between a read and its commit
        if let Some(w) = self.writes.get(path) {
            return Ok(w.clone().map(Zeroizing::new));
        }
        let found = self.store.lock().records.get(path).cloned();
        self.reads.entry(path.to_string()).or_insert(found.as_ref().map(|r| r.0));
        Ok(found.map(|r| Zeroizing::new(r.1)))
    }
    async fn put(&mut self, path: &str, value: Entry) -> Result<()> {
        assert!(!path.is_empty() && !path.starts_with('/') && !path.ends_with('/'), "record path {path:?}");
        if value.len() > vault_logical::limits::MAX_SECRET_BYTES + 64 * 1024 {
            return Err(Error::new(ErrorKind::TooLarge, "record is too large"));
        }
        self.writes.insert(path.to_string(), Some(value.to_vec()));
        Ok(())
    }
    async fn delete(&mut self, path: &str) -> Result<()> {
        self.writes.insert(path.to_string(), None);
        Ok(())
    }
    async fn list(&mut self, dir: &str, after: Option<&str>, limit: usize) -> Result<Vec<String>> {
        assert!(dir.is_empty() || dir.ends_with('/'), "folder {dir:?}");
        let mut keys: BTreeSet<String> = self.store.lock().records.keys().cloned().collect();
        for (k, v) in &self.writes {
            if v.is_some() {
                keys.insert(k.clone())
            } else {
                keys.remove(k)
            };
        }
        let names: BTreeSet<String> = keys
            .iter()
            .filter_map(|k| k.strip_prefix(dir))
            .map(|rest| match rest.split_once('/') {
                Some((folder, _)) => format!("{folder}/"),
                None => rest.to_string(),
            })
            .filter(|n| after.is_none_or(|a| n.as_str() > a))
            .collect();
        Ok(names.into_iter().take(limit).collect())
    }
    async fn fence(&mut self, dir: &str) -> Result<()> {
        let path = format!("{dir}\u{0}fence");
        self.get(&path).await?;
        self.writes.insert(path, Some(Vec::new()));
        Ok(())
    }
}

/// Answers a URL with what a test put there, and counts.
#[derive(Default)]
pub(crate) struct FakeEgress {
    pub(crate) answers: Mutex<HashMap<String, Answer>>,
    pub(crate) calls: Mutex<Vec<String>>,
    /// Held by a test to keep fetches waiting.
    pub(crate) gate: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
pub(crate) enum Answer {
    Body(u16, Vec<u8>),
    Fails,
}

#[async_trait]
impl Egress for FakeEgress {
    async fn get(&self, request: EgressRequest) -> Result<EgressResponse> {
        self.calls.lock().push(request.url.clone());
        let _open = self.gate.lock().await;
        let answer = self.answers.lock().get(&request.url).cloned();
        match answer {
            Some(Answer::Body(status, body)) => Ok(EgressResponse { status, body }),
            _ => Err(Error::new(ErrorKind::Upstream, "unreachable")),
        }
    }
}

struct Readable(BTreeSet<String>, Option<String>);

#[async_trait]
impl SecretReader for Readable {
    async fn caller_may_read(&self, path: &str) -> Result<bool> {
        Ok(self.0.contains(path))
    }
    async fn bound_text(&self, _: &vault_logical::Binding) -> Result<Option<secmem::SecretString>> {
        Ok(self.1.clone().map(Into::into))
    }
}

/// One mounted engine.
pub(crate) struct Bench {
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) egress: Arc<FakeEgress>,
    pub(crate) mount: Mount,
    /// API paths that the caller may read.
    pub(crate) readable: Mutex<BTreeSet<String>>,
    /// What every binding points at.
    pub(crate) bound: Mutex<Option<String>>,
    pub(crate) caller: Mutex<Arc<Caller>>,
    store: Store,
    charging: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

pub(crate) fn caller(cubbyhole: Option<&str>) -> Arc<Caller> {
    Arc::new(Caller {
        display_name: "token".into(),
        kind: TokenKind::Service,
        accessor: "acc".into(),
        entity_id: String::new(),
        policies: vec!["default".into()],
        metadata: BTreeMap::new(),
        cubbyhole: cubbyhole.map(str::to_string),
        root: false,
    })
}

pub(crate) fn object(v: Value) -> Data {
    v.as_object().cloned().unwrap_or_default()
}

impl Bench {
    pub(crate) fn mount(type_name: &str, options: &[(&str, &str)]) -> Bench {
        let factory: &Factory = crate::factories().iter().find(|f| f.type_name == type_name).unwrap();
        let mount = Mount {
            uuid: uuid::Uuid::new_v4(),
            accessor: format!("{type_name}_test"),
            path: format!("{type_name}/"),
            type_name: type_name.into(),
            options: options.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect(),
            config: MountConfig::default(),
            default_ttl: Duration::from_secs(768 * 3600),
            max_ttl: Duration::from_secs(768 * 3600),
        };
        let egress = Arc::new(FakeEgress::default());
        let clock = Arc::new(TestClock(AtomicI64::new(0)));
        clock.set(START);
        Bench {
            engine: (factory.make)(&mount, egress.clone()).unwrap(),
            clock,
            egress,
            mount,
            readable: Mutex::default(),
            bound: Mutex::new(Some("sk-test-0123456789".into())),
            caller: Mutex::new(caller(Some("hole"))),
            store: Store::default(),
            charging: Mutex::default(),
        }
    }

    /// The same store under a fresh instance, as after a restart.
    pub(crate) fn restart(&mut self) {
        let factory = crate::factories().iter().find(|f| f.type_name == self.mount.type_name).unwrap();
        self.engine = (factory.make)(&self.mount, self.egress.clone()).unwrap();
    }

    pub(crate) fn request(&self, operation: Operation, path: &str, data: Value) -> Request {
        Request {
            id: uuid::Uuid::new_v4(),
            operation,
            path: path.into(),
            data: object(data),
            caller: Some(self.caller.lock().clone()),
            connection: Connection { transport: Transport::Tls, remote: None },
            merge_patch: operation == Operation::Patch,
        }
    }

    /// A whole request in the core's order. Writes of an answer of 400 or above are dropped, a
    /// charge's never.
    pub(crate) async fn serve(&self, mut request: Request) -> Result<Response> {
        if self.engine.cold() {
            self.inspect(async |e, cx| e.load(cx).await).await?;
        }
        self.engine.prepare(&request).await?;
        if request.operation == Operation::Update {
            let mut view = MemView::new(&self.store);
            let exists = self.with(&mut view, async |e, cx| e.exists(cx, &request).await).await?;
            if exists == Some(false) {
                request.operation = Operation::Create;
            }
        }
        let charge = match self.engine.charge_key(&request) {
            None => None,
            Some(key) => Some(self.charge(&key, &request).await?),
        };
        for _ in 0..RETRIES {
            let mut view = MemView::new(&self.store);
            let answer =
                self.with(&mut view, async |e, cx| e.handle(cx, &request, charge.as_ref()).await).await?;
            if answer.not_found {
                return Ok(answer);
            }
            let changed: Vec<String> = view.writes.keys().cloned().collect();
            if view.commit() {
                changed.iter().for_each(|path| self.engine.invalidate(path));
                return Ok(answer);
            }
        }
        Err(Error::new(ErrorKind::Unavailable, "contention"))
    }

    async fn charge(&self, key: &str, request: &Request) -> Result<vault_logical::Charge> {
        let lock = self.charging.lock().entry(key.to_string()).or_default().clone();
        let _one_at_a_time = lock.lock().await;
        for _ in 0..RETRIES {
            let mut view = MemView::new(&self.store);
            let outcome = self.with(&mut view, async |e, cx| e.charge(cx, request).await).await;
            if view.commit() {
                return outcome;
            }
        }
        Err(Error::new(ErrorKind::Unavailable, "contention"))
    }

    /// Runs `f` with a context over `view`.
    async fn with<T>(
        &self,
        view: &mut MemView,
        f: impl AsyncFnOnce(&dyn Engine, &mut Context<'_>) -> T,
    ) -> T {
        let readable = Readable(self.readable.lock().clone(), self.bound.lock().clone());
        let mut cx = Context { view, clock: &*self.clock, mount: &self.mount, secrets: &readable };
        f(&*self.engine, &mut cx).await
    }

    /// A record as another version of the engine left it.
    pub(crate) fn put_record(&self, path: &str, value: &[u8]) {
        self.store.lock().records.insert(path.to_string(), (1, value.to_vec()));
        self.engine.invalidate(path);
    }

    /// Runs `f` with a context over a read-only transaction.
    pub(crate) async fn inspect<T>(&self, f: impl AsyncFnOnce(&dyn Engine, &mut Context<'_>) -> T) -> T {
        self.with(&mut MemView::new(&self.store), f).await
    }

    pub(crate) async fn read(&self, path: &str) -> Result<Response> {
        self.read_with(path, Value::Null).await
    }
    pub(crate) async fn read_with(&self, path: &str, data: Value) -> Result<Response> {
        self.serve(self.request(Operation::Read, path, data)).await
    }
    pub(crate) async fn write(&self, path: &str, data: Value) -> Result<Response> {
        self.serve(self.request(Operation::Update, path, data)).await
    }
    pub(crate) async fn patch(&self, path: &str, data: Value) -> Result<Response> {
        self.serve(self.request(Operation::Patch, path, data)).await
    }
    pub(crate) async fn delete(&self, path: &str) -> Result<Response> {
        self.serve(self.request(Operation::Delete, path, Value::Null)).await
    }
    pub(crate) async fn list(&self, path: &str, data: Value) -> Result<Vec<String>> {
        let r = self.serve(self.request(Operation::List, path, data)).await?;
        Ok(serde_json::from_value(r.data.unwrap_or_default().remove("keys").unwrap_or_default()).unwrap())
    }

    /// Paths of all records, in order.
    pub(crate) fn records(&self) -> Vec<String> {
        self.store.lock().records.keys().filter(|k| !k.ends_with("\u{0}fence")).cloned().collect()
    }
    /// All records.
    pub(crate) fn contents(&self) -> Vec<(String, Vec<u8>)> {
        self.store.lock().records.iter().map(|(k, r)| (k.clone(), r.1.clone())).collect()
    }
    /// Changes every record behind the engine's back.
    pub(crate) fn rewrite(&self, f: impl Fn(&[u8]) -> Vec<u8>) {
        self.store.lock().records.values_mut().for_each(|r| r.1 = f(&r.1));
    }
    /// All stored bytes, to search.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.store.lock().records.values().flat_map(|r| r.1.clone()).collect()
    }
}

/// The answer's data as one JSON value.
pub(crate) fn data(r: &Response) -> Value {
    r.data.clone().map_or(Value::Null, Value::Object)
}

/// Runs `f` on a small runtime.
pub(crate) fn run<T>(f: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(f)
}

/// Polls all to the end, interleaved.
pub(crate) async fn all<F: Future>(fs: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut fs: Vec<_> = fs.into_iter().map(|f| (Box::pin(f), None)).collect();
    std::future::poll_fn(move |cx| {
        for (f, out) in &mut fs {
            if out.is_none()
                && let std::task::Poll::Ready(v) = f.as_mut().poll(cx)
            {
                *out = Some(v);
            }
        }
        if fs.iter().all(|(_, out)| out.is_some()) {
            std::task::Poll::Ready(fs.iter_mut().filter_map(|(_, out)| out.take()).collect())
        } else {
            std::task::Poll::Pending
        }
    })
    .await
}
