//! What root can read of the daemon's memory (assurance M1 to M5): no share, no unseal key, no
//! token, no secret and no expanded AES key, while it is unsealed and idle and after it is sealed.
//!
//! The scan reads `/proc/PID/mem` of the stopped daemon. Key memory (`memfd_secret`) cannot be read
//! that way by anyone; that is what it is for.

mod session;
mod shares;

use crate::support::upstream::acceptor;
use crate::support::{Home, PATIENCE, Vaultd, eventually, send};
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

/// An upstream of HTTP/1.1 over TLS that keeps its connections, and how many are open.
async fn keeping_upstream(home: &Home) -> (String, Arc<AtomicUsize>) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let acceptor = acceptor(&home.pki, "server", "http/1.1");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let open = Arc::new(AtomicUsize::new(0));
    let count = open.clone();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let (acceptor, count) = (acceptor.clone(), count.clone());
            tokio::spawn(async move {
                let Ok(mut tls) = acceptor.accept(tcp).await else { return };
                count.fetch_add(1, Ordering::SeqCst);
                let mut seen = Vec::new();
                while tls.read_buf(&mut seen).await.unwrap_or(0) > 0 {
                    if seen.ends_with(b"\r\n\r\n") {
                        // The key came as it is.
                        let known = seen.windows(GATEWAY_KEY.len()).any(|w| w == GATEWAY_KEY.as_bytes());
                        let status = if known { "200 OK" } else { "400 Bad Request" };
                        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\nok");
                        let _ = tls.write_all(answer.as_bytes()).await;
                        seen.clear();
                    }
                }
                count.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    (url, open)
}

const GATEWAY_KEY: &str = "sk-proj-Mx4Tq8ZkVb2Rn7WcYd5Hs9JfLg3PaEu6";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_upstream_connection_keeps_no_key() {
    if !can_read_memory() {
        return;
    }
    let home = Home::audited("memory");
    let v = Arc::new(home.start());
    let (root, _) = v.ready().await;
    let (url, open) = keeping_upstream(&home).await;
    v.post("secret/data/p", &root, json!({"data": {"key": GATEWAY_KEY}})).await.ok();
    v.post("sys/mounts/gateway", &root, json!({"type": "gateway"})).await.ok();
    let service = json!({
        "upstream": url, "ca_cert": home.pki.ca_pem, "allow_private": true,
        "credential": {"path": "secret/data/p", "field": "key"},
        "inject": {"header": "Authorization", "template": "Bearer {{credential}}"},
        "allow": [{"path": "/*"}], "auth": [{"type": "token"}],
    });
    v.post("gateway/services/p", &root, service).await.ok();
    let app = v.token_with(&root, "app", "path \"gateway/proxy/p/*\" { capabilities = [\"invoke\"] }").await;
    let mut scanner = Scanner::new();
    scanner.add("the provider's key", GATEWAY_KEY.as_bytes());
    let until = Instant::now() + SOON;
    // The connection must be there when the key is not: closing it is no way out.
    loop {
        for _ in 0..3 {
            let base = v.gateway.clone().unwrap();
            let bearer = format!("Bearer {app}");
            let a = send(&base, &v.tls, "GET", "/p/x", &[("authorization", &bearer)], Vec::new()).await;
            assert_eq!((a.status, a.text.as_str()), (200, "ok"));
        }
        let report = scan(&v, &scanner);
        let still_open = open.load(Ordering::SeqCst);
        if report.hits.is_empty() && still_open > 0 {
            break;
        }
        assert!(Instant::now() < until, "{} connections, {:#x?}", still_open, report.hits);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seeds_of_one_time_codes_are_not_left_on_a_stack() {
    if !can_read_memory() {
        return;
    }
    let home = Home::audited("memory");
    let v = Arc::new(home.start());
    let (root, _) = v.ready().await;
    v.post("sys/mounts/totp", &root, json!({"type": "totp"})).await.ok();
    for (n, algorithm) in ["SHA1", "SHA256", "SHA512"].into_iter().enumerate() {
        let mut seed = [0; 20];
        secmem::random::fill(&mut seed).unwrap();
        let text = base32(&seed);
        let mut scanner = Scanner::new();
        scanner.add("seed", &seed);
        scanner.add("half of it", &seed[..10]);
        scanner.add("in base32", text.as_bytes());
        // After each single request: the next one may happen to write over what the last one left.
        let key = json!({"key": text, "account_name": "a", "issuer": "i", "algorithm": algorithm});
        v.post(&format!("totp/keys/{n}"), &root, key).await.ok();
        nothing_lies_around(&v, &scanner, "a key was written").await;
        let code = v.get(&format!("totp/code/{n}"), &root).await.ok()["data"]["code"].clone();
        nothing_lies_around(&v, &scanner, "a code was made").await;
        v.post(&format!("totp/code/{n}"), &root, json!({"code": code})).await.ok();
        nothing_lies_around(&v, &scanner, "a code was checked").await;
        v.post(&format!("totp/code/{n}"), &root, json!({"code": "000000"})).await.ok();
        nothing_lies_around(&v, &scanner, "a wrong code was checked").await;
    }
    let made = v
        .post("totp/keys/made", &root, json!({"generate": true, "account_name": "a", "issuer": "i"}))
        .await
        .ok();
    let mut scanner = Scanner::new();
    scanner.add("seed", made["data"]["url"].as_str().unwrap().rsplit("secret=").next().unwrap().as_bytes());
    nothing_lies_around(&v, &scanner, "a key was made").await;
}

async fn nothing_lies_around(v: &Vaultd, scanner: &Scanner, when: &str) {
    let until = Instant::now() + SOON;
    loop {
        let report = scan(v, scanner);
        assert!(report.readable > 1 << 20);
        if report.hits.is_empty() {
            return;
        }
        assert!(Instant::now() < until, "{when}: {:#x?}", report.hits);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

/// RFC 4648, section 6, of a multiple of five bytes.
fn base32(bytes: &[u8]) -> String {
    let five = |group: &[u8]| {
        let bits = group.iter().fold(0_u64, |bits, b| bits << 8 | u64::from(*b));
        (0..8).map(move |n| {
            char::from(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[(bits >> (35 - 5 * n) & 31) as usize])
        })
    };
    bytes.chunks(5).flat_map(five).collect()
}
