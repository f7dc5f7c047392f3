//! What root can read of the daemon's memory (assurance M1 to M5): no share, no unseal key, no
//! token, no secret and no expanded AES key, while it is unsealed and idle and after it is sealed.
//!
//! The scan reads `/proc/PID/mem` of the stopped daemon. Key memory (`memfd_secret`) cannot be read
//! that way by anyone; that is what it is for.

mod session;
mod shares;

use crate::support::{Home, PATIENCE, Vaultd, eventually};
use base64::Engine as _;
use nix::sys::signal::Signal;
use secmem::scan::{Report, Scanner};
use serde_json::{Value, json};
use session::Session;
use shares::combine;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Longest time until nothing of closed connections is left. They close at once; this is for a
/// machine that is busy, on which the daemon stands still for most of it, being scanned.
const SOON: Duration = Duration::from_secs(90);
/// Longest time until idle connections are closed by the daemon and nothing of them is left: its
/// idle deadline of 10 s, and the grace to close.
const IDLE: Duration = Duration::from_secs(90);
const WRITES: usize = 200;
const CONNECTIONS: usize = 8;

/// Nothing to test without the right to read another process's memory. In CI that is a failure.
fn can_read_memory() -> bool {
    if nix::unistd::geteuid().is_root() {
        return true;
    }
    assert!(std::env::var("CI").is_err(), "memory scans need root, and nothing may be skipped in CI");
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "SKIPPED: memory scans need root");
    false
}

/// Scans the daemon while it stands still.
fn scan(v: &Vaultd, scanner: &Scanner) -> Report {
    v.signal(Signal::SIGSTOP);
    let until = Instant::now() + PATIENCE;
    while !stopped(v.pid) {
        assert!(Instant::now() < until, "the daemon does not stop");
        std::thread::sleep(Duration::from_millis(1));
    }
    let report = scanner.scan(v.pid);
    v.signal(Signal::SIGCONT);
    report.unwrap()
}

fn stopped(pid: u32) -> bool {
    std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().all(|task| {
        let stat = std::fs::read_to_string(task.unwrap().path().join("stat")).unwrap_or_default();
        stat.rsplit(')').next().unwrap_or("").trim_start().starts_with('T')
    })
}

/// What must not be found.
struct Search {
    scanner: Scanner,
    /// AES keys of the TLS library's random generators, one set a worker thread: they are there before the vault has
    /// a key, and no key of the vault's comes from them.
    generators: Vec<u64>,
}

impl Search {
    /// Of a daemon that has no keys yet.
    async fn new(v: &Vaultd) -> Search {
        let mut scanner = Scanner::new();
        scanner.find_aes_schedules();
        // Enough for every worker thread to have had one.
        for _ in 0..4 * CONNECTIONS {
            v.get("sys/health", "").await;
        }
        let until = Instant::now() + SOON;
        let mut generators = scan(v, &scanner).schedules;
        // Fewer once the last connection is gone.
        while Instant::now() < until {
            let again = scan(v, &scanner).schedules;
            if again == generators {
                break;
            }
            generators = again;
        }
        Search { scanner, generators }
    }

    fn add(&mut self, label: &str, secret: &[u8]) {
        self.scanner.add(label, secret);
    }

    fn scan(&self, v: &Vaultd) -> Report {
        let mut report = scan(v, &self.scanner);
        report.schedules.retain(|at| !self.generators.contains(at));
        report
    }
}

/// Fails with the places where something was found, if anything still is after `bound`.
async fn nothing_left(v: &Vaultd, search: &Search, bound: Duration, when: &str) {
    let until = Instant::now() + bound;
    loop {
        let report = search.scan(v);
        assert!(report.readable > 1 << 20, "{when}: the scan read next to nothing");
        if report.hits.is_empty() && report.schedules.is_empty() {
            return;
        }
        if Instant::now() >= until {
            let mut text =
                format!("{when}: {} AES schedules at {:x?}\n", report.schedules.len(), report.schedules);
            for hit in &report.hits {
                text += &format!(
                    "{} as {:?} at {:#x} in {}\n",
                    hit.label, hit.encoding, hit.address, hit.mapping
                );
            }
            panic!("{text}");
        }
        // Running for longer than it is stopped, so that it gets to its closing.
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Random text of `n` characters, which JSON writes as it is.
fn random_text(n: usize) -> String {
    let mut bytes = vec![0; n];
    secmem::random::fill(&mut bytes).unwrap();
    let text = base64::engine::general_purpose::STANDARD_NO_PAD.encode(&bytes).replace(['+', '/'], "x");
    text[..n].to_string()
}

/// Everything that must not be found, and what the scenario needs of it.
struct Secrets {
    search: Search,
    value: String,
    large: String,
    root: String,
}

/// A vault of 5/3, unsealed; shares and unseal key are already looked for.
async fn unsealed(v: &Vaultd) -> Secrets {
    let mut search = Search::new(v).await;
    let (keys, root) = v.init(5, 3).await;
    let shares: Vec<Vec<u8>> = keys.iter().map(|k| hex::decode(k).unwrap()).collect();
    let unseal_key = combine(&shares[..3]);
    assert_eq!(unseal_key, combine(&shares[2..]), "any three shares give the same key");
    for (n, share) in shares.iter().enumerate() {
        search.add(&format!("share {n}"), share);
        // A copy without the place, or a part of one, is as good.
        search.add(&format!("share {n}, first half"), &share[..16]);
        search.add(&format!("share {n}, second half"), &share[16..32]);
    }
    search.add("unseal key", &unseal_key);
    search.add("unseal key, half", &unseal_key[..16]);
    search.add("root token", &root.as_bytes()["hvs.".len()..]);
    nothing_left(v, &search, SOON, "initialised").await;
    v.post("sys/unseal", "", json!({"key": keys[0]})).await.ok();
    nothing_left(v, &search, SOON, "one share given").await;
    v.unseal(&keys[1..3]).await;
    nothing_left(v, &search, SOON, "unsealed").await;
    let (value, large) = (random_text(40), random_text(48));
    search.add("secret", value.as_bytes());
    search.add("large secret", large.as_bytes());
    Secrets { search, value, large, root }
}

/// Writes and reads over several connections at once; tokens are made, used, refused and revoked.
async fn use_it(v: &Arc<Vaultd>, s: &mut Secrets) {
    v.post("sys/mounts/secret", &s.root, json!({"type": "kv", "options": {"version": "2"}})).await.ok();
    v.post("sys/mounts/plain", &s.root, json!({"type": "kv"})).await.ok();
    let mut workers = Vec::new();
    for n in 0..CONNECTIONS {
        let (v, value, large, root) = (v.clone(), s.value.clone(), s.large.clone(), s.root.clone());
        workers.push(tokio::spawn(async move { one_connection(&v, n, &value, &large, &root).await }));
    }
    for worker in workers {
        for (n, token) in worker.await.unwrap().into_iter().enumerate() {
            s.search.add(&format!("token {n}"), &token.as_bytes()["hvs.".len()..]);
        }
    }
}

async fn one_connection(v: &Vaultd, n: usize, value: &str, large: &str, root: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut session = Session::open(v, root, n % 2 == 1).await;
    let large = json!({"list": [format!("{large}{}", ".".repeat(20_000)), {large: format!("{}{large}", "-".repeat(50_000))}]});
    for i in 0..WRITES / CONNECTIONS {
        let path = format!("secret/data/app/{n}");
        assert_eq!(session.call("POST", &path, json!({"data": {"password": value}})).await.0, 200);
        let (status, read) = session.call("GET", &path, Value::Null).await;
        assert_eq!((status, read["data"]["data"]["password"].as_str()), (200, Some(value)));
        if i % 8 == 0 {
            assert_eq!(session.call("POST", &format!("plain/{n}"), large.clone()).await.0, 204);
            assert_eq!(session.call("GET", &format!("plain/{n}"), Value::Null).await.1["data"], large);
            // Refusals must not keep what they refuse.
            assert_eq!(session.call("POST", "secret/data/x", json!({"data": value})).await.0, 400);
            assert_eq!(session.call("GET", &format!("secret/data/{value}"), Value::Null).await.0, 404);
            let (_, made) = session.call("POST", "auth/token/create", json!({"policies": ["default"]})).await;
            let token = made["auth"]["client_token"].as_str().unwrap().to_string();
            v.get("auth/token/lookup-self", &token).await.ok();
            v.get("secret/data/app", &token).await.expect(403);
            session = Session::open(v, root, n % 2 == 1).await;
            assert_eq!(session.call("POST", "auth/token/lookup", json!({"token": token})).await.0, 200);
            if i % 16 == 0 {
                assert_eq!(session.call("POST", "auth/token/revoke", json!({"token": token})).await.0, 204);
            }
            tokens.push(token);
        }
    }
    tokens
}

/// Connections that have carried a token and a secret and now say nothing.
async fn idle_connections(v: &Vaultd, s: &Secrets) -> Vec<Session> {
    let mut idle = Vec::new();
    for n in 0..CONNECTIONS {
        let mut session = Session::open(v, &s.root, n % 2 == 1).await;
        session.call("POST", "secret/data/app/idle", json!({"data": {"password": s.value}})).await;
        session.call("GET", "secret/data/app/idle", Value::Null).await;
        idle.push(session);
    }
    idle
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_can_be_read_from_an_idle_or_a_sealed_daemon() {
    if !can_read_memory() {
        return;
    }
    for backend in ["sled", "redb"] {
        let mut home = Home::audited(backend);
        let known = random_text(32);
        home.extra += &format!("cluster_name = \"{known}\"\n");
        let v = Arc::new(home.start());
        let mut s = unsealed(&v).await;
        use_it(&v, &mut s).await;
        nothing_left(&v, &s.search, SOON, "idle, connections closed").await;
        let idle = idle_connections(&v, &s).await;
        if backend == "sled" {
            nothing_left(&v, &s.search, IDLE, "idle connections").await;
        }
        v.call("PUT", "sys/seal", &s.root, None).await.ok();
        nothing_left(&v, &s.search, SOON, "sealed").await;
        // The scanner does find what is there.
        let mut control = Scanner::new();
        control.add("cluster name", known.as_bytes());
        assert!(scan(&v, &control).count("cluster name") > 0, "the scan sees nothing at all");
        drop(idle);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sealing_under_load_leaves_nothing_behind() {
    if !can_read_memory() {
        return;
    }
    let home = Home::audited("sled");
    let v = Arc::new(home.start());
    let s = unsealed(&v).await;
    v.post("sys/mounts/secret", &s.root, json!({"type": "kv", "options": {"version": "2"}})).await.ok();
    let written = Arc::new(AtomicUsize::new(0));
    let mut workers = Vec::new();
    for n in 0..CONNECTIONS {
        let (v, value, root, written) = (v.clone(), s.value.clone(), s.root.clone(), written.clone());
        workers.push(tokio::spawn(async move {
            let mut session = Session::open(&v, &root, n % 2 == 1).await;
            let body = json!({"data": {"password": value}});
            // Until the connection is closed.
            while session.try_call("POST", &format!("secret/data/app/{n}"), body.clone()).await.is_ok() {
                written.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }
    eventually("writes are under way", || async { written.load(Ordering::Relaxed) > WRITES }).await;
    v.call("PUT", "sys/seal", &s.root, None).await.ok();
    for worker in workers {
        tokio::time::timeout(PATIENCE, worker).await.expect("sealing closes every connection").unwrap();
    }
    nothing_left(&v, &s.search, SOON, "sealed under load").await;
}
