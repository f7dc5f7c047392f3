//! The listener on real sockets: TLS, HTTP/1.1 as raw bytes, HTTP/2 as hyper speaks it and as raw
//! frames, against a core that does what its path says.

use super::*;
use crate::codec::{Api, ApiLimits, Budget};
use crate::config::Timeouts;
use crate::tls::{MinVersion, ServerTls, TlsFiles, provider};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use secmem::Arena;
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use vault_core::exchange::{Exchange, Incoming, Reply, ReplyBody};
use vault_logical::{Data, Response as EngineResponse};

/// Longest wait of any test for something that must happen.
const SOON: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Scripted {
    begun: AtomicUsize,
    gate: Option<Arc<Semaphore>>,
}

#[async_trait]
impl Exchange for Scripted {
    async fn handle(&self, incoming: Incoming) -> Reply {
        self.begun.fetch_add(1, Ordering::AcqRel);
        if let (Some(gate), true) = (&self.gate, incoming.path.starts_with("wait")) {
            let _permit = gate.acquire().await.expect("gate");
        }
        let size = if incoming.path == "big" { 16 << 20 } else { 0 };
        let data = Data::from_iter([
            ("path".to_owned(), json!(incoming.path)),
            ("via".to_owned(), json!(format!("{:?}", incoming.connection.transport))),
            ("fill".to_owned(), json!("x".repeat(size))),
        ]);
        let body = ReplyBody::Envelope {
            response: EngineResponse::data(data),
            auth: None,
            flatten: false,
            mount_type: "kv".into(),
            list: false,
        };
        Reply { request_id: incoming.id, body, close: incoming.path == "close" }
    }
    fn sealed(&self) -> bool {
        false
    }
}

struct Fixture {
    server: Option<Server>,
    address: SocketAddr,
    core: Arc<Scripted>,
    gate: Arc<Semaphore>,
    tls: Arc<ServerTls>,
    client: TlsConnector,
    dir: tempfile::TempDir,
}

#[derive(Default)]
struct Options {
    timeouts: Timeouts,
    caps: Caps,
}

fn write_pair(dir: &std::path::Path) -> String {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("key");
    let cert = rcgen::CertificateParams::new(vec!["localhost".into()])
        .expect("name")
        .self_signed(&key)
        .expect("cert");
    std::fs::write(dir.join("cert.pem"), cert.pem()).expect("write");
    std::fs::write(dir.join("key.pem"), key.serialize_pem()).expect("write");
    cert.pem()
}

fn connector(cert: &str, alpn: &[&[u8]]) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(cert.as_bytes()).expect("pem")).expect("root");
    let mut config = rustls::ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|p| p.to_vec()).collect();
    TlsConnector::from(Arc::new(config))
}

impl Fixture {
    fn start(options: Options) -> Self {
        let dir = tempfile::tempdir().expect("dir");
        let cert = write_pair(dir.path());
        let files = TlsFiles {
            cert: dir.path().join("cert.pem"),
            key: dir.path().join("key.pem"),
            client_ca: None,
            require_client_cert: false,
            min_version: MinVersion::Tls13,
        };
        let tls = Arc::new(ServerTls::load(files, Arena::open(None).expect("arena")).expect("tls"));
        let gate = Arc::new(Semaphore::new(0));
        let core = Arc::new(Scripted { begun: AtomicUsize::new(0), gate: Some(gate.clone()) });
        let limits = ApiLimits { body: options.timeouts.body, ..ApiLimits::default() };
        let api: Arc<dyn Handler> =
            Arc::new(Api::new(core.clone(), limits, Budget::default(), Arc::default()));
        let listener = |bind: &Bind, tls| Listener {
            sockets: BoundSockets::bind(bind, 2).expect("bind"),
            door: Door::Api,
            tls,
            handler: api.clone(),
            timeouts: options.timeouts,
        };
        let any = Bind::Tcp("127.0.0.1:0".parse().expect("address"));
        let unix = Bind::Unix { path: dir.path().join("sock"), mode: 0o600 };
        let listeners = vec![listener(&any, Some(tls.clone())), listener(&unix, None)];
        let server = Server::start(listeners, Registry::new(options.caps), 2).expect("server");
        let address = *server.addresses().first().expect("address");
        let client = connector(&cert, &[b"http/1.1"]);
        Fixture { server: Some(server), address, core, gate, tls, client, dir }
    }

    fn registry(&self) -> &Registry {
        self.server.as_ref().expect("running").registry()
    }

    async fn connect(&self) -> TlsStream<TcpStream> {
        self.try_connect().await.expect("handshake")
    }

    async fn try_connect(&self) -> std::io::Result<TlsStream<TcpStream>> {
        let tcp = TcpStream::connect(self.address).await?;
        self.client.connect(ServerName::try_from("localhost").expect("name"), tcp).await
    }

    async fn open_connections(&self, n: usize) {
        until(|| self.registry().count() == n).await;
    }

    async fn stop(mut self) -> bool {
        self.server.take().expect("running").stop(SOON).await
    }
}

async fn until(done: impl Fn() -> bool) {
    let poll = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(SOON, poll).await.expect("in time");
}

/// Everything until the peer closes.
async fn to_end<S: AsyncRead + Unpin>(stream: &mut S) -> String {
    let mut all = Vec::new();
    // A reset after an answer is a close too.
    let _ = tokio::time::timeout(SOON, stream.read_to_end(&mut all)).await.expect("the peer closes");
    String::from_utf8_lossy(&all).into_owned()
}

/// One answer with a Content-Length.
async fn answer<S: AsyncRead + Unpin>(stream: &mut S) -> String {
    let mut all = Vec::new();
    let read = async {
        loop {
            all.push(stream.read_u8().await.expect("an answer"));
            let text = String::from_utf8_lossy(&all);
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|l| {
                    l.to_ascii_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok()
                });
                if body.len() >= length.unwrap_or(0) {
                    return text.into_owned();
                }
            }
        }
    };
    tokio::time::timeout(SOON, read).await.expect("in time")
}

async fn send<S: AsyncWrite + Unpin>(stream: &mut S, text: &str) {
    stream.write_all(text.as_bytes()).await.expect("send");
    stream.flush().await.expect("flush");
}

fn get(path: &str) -> String {
    format!("GET /v1/{path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

#[tokio::test]
async fn http1_over_tls_with_keep_alive() {
    let f = Fixture::start(Options::default());
    let mut c = f.connect().await;
    for path in ["a", "b"] {
        send(&mut c, &get(path)).await;
        let got = answer(&mut c).await;
        assert!(got.starts_with("HTTP/1.1 200 OK\r\n"), "{got}");
        assert!(got.contains("content-type: application/json\r\n"), "{got}");
        assert!(got.contains("cache-control: no-store\r\n"), "{got}");
        assert!(got.contains(&format!("\"path\":\"{path}\",\"via\":\"Tls\"")), "{got}");
    }
    drop(c);
    assert!(f.stop().await);
}

#[tokio::test]
async fn http2_over_tls_side_by_side() {
    let f = Fixture::start(Options::default());
    let cert = std::fs::read_to_string(f.dir.path().join("cert.pem")).expect("cert");
    let tcp = TcpStream::connect(f.address).await.expect("connect");
    let name = ServerName::try_from("localhost").expect("name");
    let tls = connector(&cert, &[b"h2"]).connect(name, tcp).await.expect("handshake");
    assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(tls)).await.expect("h2");
    let connection = tokio::spawn(connection);
    let request = |path: &str| {
        Request::get(format!("https://localhost/v1/{path}")).body(Empty::<Bytes>::new()).expect("request")
    };
    let waiting = sender.send_request(request("wait"));
    let quick = sender.send_request(request("big")).await.expect("not held up");
    assert_eq!(quick.status(), 200);
    assert!(quick.into_body().collect().await.expect("body").to_bytes().len() > 16 << 20);
    f.gate.add_permits(1);
    assert_eq!(waiting.await.expect("answer").status(), 200);
    // An answer with key material ends the connection.
    let last = sender.send_request(request("close")).await.expect("answer");
    assert_eq!(last.status(), 200);
    assert!(last.into_body().collect().await.is_ok(), "the answer still arrives whole");
    tokio::time::timeout(SOON, connection).await.expect("closed").expect("task").expect("cleanly");
    f.open_connections(0).await;
}

#[tokio::test]
async fn key_material_closes_http1() {
    let f = Fixture::start(Options::default());
    let mut c = f.connect().await;
    send(&mut c, &get("close")).await;
    let got = to_end(&mut c).await;
    assert!(got.starts_with("HTTP/1.1 200") && got.contains("connection: close\r\n"), "{got}");
}

#[tokio::test]
async fn requests_that_two_parsers_could_cut_differently() {
    let f = Fixture::start(Options::default());
    let smuggled = "GET /v1/smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
    for head in [
        "Content-Length: 2\r\nContent-Length: 3\r\n",
        "Content-Length: 2, 3\r\n",
        "Content-Length: +2\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 99999999999999999999\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "X-A: b\r\n folded\r\n",
        "X-A : b\r\n",
        "X-\0A: b\r\n",
        "X-A: b\rc\r\n",
        ": b\r\n",
        "no colon\r\n",
    ] {
        let mut c = f.connect().await;
        send(&mut c, &format!("POST /v1/a HTTP/1.1\r\nHost: x\r\n{head}\r\n{{}}{smuggled}")).await;
        let got = to_end(&mut c).await;
        assert!(got.starts_with("HTTP/1.1 400"), "{head:?}: {got}");
        assert_eq!(got.matches("HTTP/1.1").count(), 1, "{head:?}: one answer, then closed: {got}");
    }
    assert_eq!(f.core.begun.load(Ordering::Acquire), 0, "nothing reached the core");
    // Both framings at once: read by the chunks alone, then the connection ends (RFC 9112, 6.1).
    for head in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
    ] {
        let mut c = f.connect().await;
        let body = "2\r\n{}\r\n0\r\n\r\n";
        send(&mut c, &format!("POST /v1/a HTTP/1.1\r\nHost: x\r\n{head}\r\n{body}{smuggled}")).await;
        let got = to_end(&mut c).await;
        assert_eq!(got.matches("HTTP/1.1").count(), 1, "{head:?}: {got}");
        assert!(!got.contains("smuggled"), "{got}");
    }
}

#[tokio::test]
async fn heads_are_bounded() {
    let f = Fixture::start(Options::default());
    let long = format!("GET /v1/a HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n", "y".repeat(17 * 1024));
    let many: String = (0..101).map(|n| format!("X-{n}: y\r\n")).collect();
    let many = format!("GET /v1/a HTTP/1.1\r\n{many}\r\n");
    let endless = format!("GET /v1/a HTTP/1.1\r\nX-Long: {}", "y".repeat(64 * 1024));
    for request in [long, many, endless] {
        let mut c = f.connect().await;
        // The daemon may close before it has taken everything.
        let _ = c.write_all(request.as_bytes()).await;
        let got = to_end(&mut c).await;
        assert!(got.is_empty() || got.starts_with("HTTP/1.1 431"), "{got}");
    }
    let target = format!("/v1/a?{}", "y".repeat(crate::limits::MAX_URI_BYTES));
    let mut c = f.connect().await;
    send(&mut c, &format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
    assert!(answer(&mut c).await.starts_with("HTTP/1.1 414"));
    assert_eq!(f.core.begun.load(Ordering::Acquire), 0);
}

fn short() -> Timeouts {
    let ms = Duration::from_millis;
    Timeouts {
        handshake: ms(100),
        header: ms(100),
        body: ms(100),
        idle: ms(100),
        write_stall: ms(100),
        ..Timeouts::default()
    }
}

#[tokio::test]
async fn slow_peers_are_cut_at_every_stage() {
    let f = Fixture::start(Options { timeouts: short(), ..Options::default() });
    // Nothing at all, then half a ClientHello.
    for bytes in [&b""[..], b"\x16\x03\x01\x02\x00\x01"] {
        let mut tcp = TcpStream::connect(f.address).await.expect("connect");
        tcp.write_all(bytes).await.expect("write");
        assert_eq!(to_end(&mut tcp).await, "");
    }
    // The rest happens behind a handshake that is given its time.
    let handshake = Timeouts::default().handshake;
    let f = Fixture::start(Options { timeouts: Timeouts { handshake, ..short() }, ..Options::default() });
    // Idle after the handshake, half a head, a head that trickles.
    let mut idle = f.connect().await;
    assert_eq!(to_end(&mut idle).await, "");
    let mut half = f.connect().await;
    send(&mut half, "GET /v1/a HTTP/1.1\r\nHost:").await;
    assert!(!to_end(&mut half).await.contains("200"));
    let mut trickle = f.connect().await;
    let cut = async {
        while trickle.write_all(b"G").await.and(trickle.flush().await).is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(SOON, cut).await.expect("cut off while it trickles");
    // A body that stops.
    let mut body = f.connect().await;
    send(&mut body, "POST /v1/a HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{").await;
    let got = to_end(&mut body).await;
    assert!(got.starts_with("HTTP/1.1 408") && got.contains("connection: close"), "{got}");
    f.open_connections(0).await;
    assert_eq!(f.core.begun.load(Ordering::Acquire), 0);
}

#[tokio::test]
async fn a_peer_that_does_not_read_is_cut() {
    // Only what is under test is short: a busy machine takes its time for everything else.
    let timeouts = Timeouts { write_stall: Duration::from_millis(100), ..Timeouts::default() };
    let f = Fixture::start(Options { timeouts, ..Options::default() });
    let mut c = f.connect().await;
    send(&mut c, &get("big")).await;
    until(|| f.core.begun.load(Ordering::Acquire) == 1).await;
    f.open_connections(0).await;
    let got = to_end(&mut c).await;
    assert!(got.len() < 16 << 20, "cut short");
}

#[tokio::test]
async fn bodies_too_large_are_refused_before_they_are_sent() {
    let f = Fixture::start(Options::default());
    let mut c = f.connect().await;
    send(&mut c, "POST /v1/a HTTP/1.1\r\nHost: x\r\nContent-Length: 65537\r\n\r\n").await;
    let got = to_end(&mut c).await;
    assert!(got.starts_with("HTTP/1.1 413") && got.contains("connection: close"), "{got}");
    let mut c = f.connect().await;
    send(&mut c, "POST /v1/a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n20000\r\n").await;
    let _ = c.write_all(&vec![b'x'; 0x20000]).await;
    let got = to_end(&mut c).await;
    assert!(got.is_empty() || got.starts_with("HTTP/1.1 413"), "{got}");
    assert_eq!(f.core.begun.load(Ordering::Acquire), 0);
}

#[tokio::test]
async fn seal_closes_every_connection_and_lets_answers_finish() {
    // Nothing but the close ends a connection here.
    let hour = Duration::from_secs(3600);
    let timeouts = Timeouts { handshake: hour, idle: hour, header: hour, ..Timeouts::default() };
    let f = Fixture::start(Options { timeouts, ..Options::default() });
    let mut idle = f.connect().await;
    send(&mut idle, &get("a")).await;
    answer(&mut idle).await;
    let mut busy = f.connect().await;
    send(&mut busy, &get("wait")).await;
    until(|| f.core.begun.load(Ordering::Acquire) == 2).await;
    let mut half = TcpStream::connect(f.address).await.expect("connect");
    half.write_all(b"\x16\x03\x01").await.expect("half a ClientHello");
    f.open_connections(3).await;
    f.registry().close_all();
    assert!(f.registry().idle_closed(SOON).await, "idle ones are gone");
    assert_eq!(to_end(&mut idle).await, "");
    assert_eq!(to_end(&mut half).await, "");
    assert_eq!(f.registry().count(), 1, "the busy one is not");
    f.gate.add_permits(1);
    let got = to_end(&mut busy).await;
    assert!(got.starts_with("HTTP/1.1 200") && got.contains("\"path\":\"wait\""), "{got}");
    let mut young = f.connect().await;
    send(&mut young, &get("a")).await;
    assert!(answer(&mut young).await.starts_with("HTTP/1.1 200"), "new connections are welcome");
}

#[tokio::test]
async fn stopping_finishes_what_was_begun_and_takes_nothing_new() {
    let f = Fixture::start(Options::default());
    let mut busy = f.connect().await;
    send(&mut busy, &get("wait")).await;
    until(|| f.core.begun.load(Ordering::Acquire) == 1).await;
    let (gate, address, path) = (f.gate.clone(), f.address, f.dir.path().join("sock"));
    let mut f = f;
    let server = f.server.take().expect("running");
    let stop = tokio::spawn(server.stop(SOON));
    let refused = async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(SOON, refused).await.expect("no new connections");
    gate.add_permits(1);
    let got = to_end(&mut busy).await;
    assert!(got.starts_with("HTTP/1.1 200"), "{got}");
    assert!(stop.await.expect("stopped"), "nothing was cut");
    assert!(!path.exists(), "the unix socket is gone");
}

#[tokio::test]
async fn stopping_cuts_what_does_not_end() {
    let mut f = Fixture::start(Options::default());
    let mut stuck = f.connect().await;
    send(&mut stuck, &get("wait")).await;
    until(|| f.core.begun.load(Ordering::Acquire) == 1).await;
    assert!(!f.server.take().expect("running").stop(Duration::from_millis(50)).await);
    assert_eq!(to_end(&mut stuck).await, "");
}

#[tokio::test]
async fn caps_turn_strangers_away_and_keep_the_operators_door() {
    let caps = Caps { api: Cap { total: 8, per_source: 2 }, unix: 2, ..Caps::default() };
    let f = Fixture::start(Options { caps, ..Options::default() });
    let (_a, _b) = (f.connect().await, f.connect().await);
    assert!(f.try_connect().await.is_err(), "the third of one source");
    let mut unix = UnixStream::connect(f.dir.path().join("sock")).await.expect("unix");
    send(&mut unix, &get("a")).await;
    assert!(answer(&mut unix).await.contains("\"via\":\"Unix\""));
    assert_eq!(f.registry().refused(), 1);
}

#[tokio::test]
async fn a_new_certificate_serves_new_connections() {
    let f = Fixture::start(Options::default());
    let mut old = f.connect().await;
    let cert = write_pair(f.dir.path());
    f.tls.reload().expect("reload");
    assert!(f.try_connect().await.is_err(), "the old root no longer fits");
    let tcp = TcpStream::connect(f.address).await.expect("connect");
    let name = ServerName::try_from("localhost").expect("name");
    assert!(connector(&cert, &[b"http/1.1"]).connect(name, tcp).await.is_ok());
    send(&mut old, &get("a")).await;
    assert!(answer(&mut old).await.starts_with("HTTP/1.1 200"), "open connections live on");
}

/// HTTP/2 frames by hand.
mod frames {
    pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    pub const SETTINGS: u8 = 4;
    pub const HEADERS: u8 = 1;
    pub const RST_STREAM: u8 = 3;
    pub const CONTINUATION: u8 = 9;
    pub const PING: u8 = 6;
    pub const PRIORITY: u8 = 2;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const END_STREAM: u8 = 1;
    pub const END_HEADERS: u8 = 4;
    /// GET https://localhost/ from the static table, and a literal authority.
    pub const BLOCK: &[u8] = b"\x82\x87\x84\x41\x09localhost";

    pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).expect("small").to_be_bytes();
        let mut out = length[1..].to_vec();
        out.extend([kind, flags]);
        out.extend(stream.to_be_bytes());
        out.extend(payload);
        out
    }
}

async fn raw_http2(f: &Fixture) -> TlsStream<TcpStream> {
    let cert = std::fs::read_to_string(f.dir.path().join("cert.pem")).expect("cert");
    let tcp = TcpStream::connect(f.address).await.expect("connect");
    let name = ServerName::try_from("localhost").expect("name");
    let mut tls = connector(&cert, &[b"h2"]).connect(name, tcp).await.expect("handshake");
    tls.write_all(frames::PREFACE).await.expect("preface");
    tls.write_all(&frames::frame(frames::SETTINGS, 0, 0, &[])).await.expect("settings");
    tls
}

/// Sends frames until the daemon hangs up; `false` when it took all of them and stayed.
async fn cut_off(f: &Fixture, mut next: impl FnMut(u32) -> Vec<u8>) -> bool {
    let (mut read, mut write) = tokio::io::split(raw_http2(f).await);
    let closed = tokio::spawn(async move { tokio::io::copy(&mut read, &mut tokio::io::sink()).await });
    for n in 0..20_000 {
        if closed.is_finished() || write.write_all(&next(n)).await.is_err() {
            break;
        }
    }
    let _ = write.flush().await;
    tokio::time::timeout(Duration::from_secs(5), closed).await.is_ok()
}

#[tokio::test]
async fn http2_floods_end_the_connection() {
    use frames::*;
    let f = Fixture::start(Options::default());
    let rapid_reset = |n: u32| {
        let id = n * 2 + 1;
        let mut out = frame(HEADERS, END_HEADERS | END_STREAM, id, BLOCK);
        out.extend(frame(RST_STREAM, 0, id, &8u32.to_be_bytes()));
        out
    };
    assert!(cut_off(&f, rapid_reset).await, "rapid reset");
    let continuation = |n: u32| match n {
        0 => frame(HEADERS, END_STREAM, 1, BLOCK),
        _ => frame(CONTINUATION, 0, 1, b"\x00\x03abc\x03def"),
    };
    assert!(cut_off(&f, continuation).await, "endless CONTINUATION");
    // A header list that is small on the wire and huge in memory needs the table we do not offer:
    // an insertion, then references to it.
    let bomb = |n: u32| {
        let mut block = BLOCK.to_vec();
        block.extend(b"\x40\x04bomb\x7f\x81\x1e");
        block.extend(vec![b'y'; 4000]);
        block.extend(vec![0xbe; 8000]);
        frame(HEADERS, END_HEADERS | END_STREAM, n * 2 + 1, &block)
    };
    assert!(cut_off(&f, bomb).await, "HPACK bomb");
    f.open_connections(0).await;
    assert!(f.core.begun.load(Ordering::Acquire) < 1000);
}

#[tokio::test]
async fn pings_do_not_keep_an_idle_http2_connection() {
    use frames::*;
    let timeouts = Timeouts { idle: Duration::from_secs(2), ..Timeouts::default() };
    let f = Fixture::start(Options { timeouts, ..Options::default() });
    let (mut read, mut write) = tokio::io::split(raw_http2(&f).await);
    let closed = tokio::spawn(async move { tokio::io::copy(&mut read, &mut tokio::io::sink()).await });
    let ping = async {
        while !closed.is_finished() && write.write_all(&frame(PING, 0, 0, &[0; 8])).await.is_ok() {
            let _ = write.flush().await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(SOON, ping).await.expect("closed although it pings");
    f.open_connections(0).await;
}

/// The kinds of frames in what the daemon sent.
fn kinds(mut sent: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let [a, b, c, kind, ..] = sent {
        out.push(*kind);
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        sent = sent.get(9 + length..).unwrap_or_default();
    }
    out
}

#[tokio::test]
async fn frames_that_ask_for_nothing_end_in_goaway() {
    use frames::*;
    let f = Fixture::start(Options::default());
    let five = [0, 0, 0, 3, 1];
    for (what, one) in [
        ("priorities", frame(PRIORITY, 0, 1, &five)),
        ("windows", frame(WINDOW_UPDATE, 0, 0, &1u32.to_be_bytes())),
        ("unknown frames", frame(0xee, 0, 0, b"x")),
        ("pings", frame(PING, 0, 0, &[0; 8])),
        ("settings", frame(SETTINGS, 0, 0, &[])),
    ] {
        let (mut read, mut write) = tokio::io::split(raw_http2(&f).await);
        let heard = tokio::spawn(async move {
            let mut all = Vec::new();
            let _ = read.read_to_end(&mut all).await;
            all
        });
        let many = one.repeat(100);
        for _ in 0..1000 {
            if heard.is_finished() || write.write_all(&many).await.is_err() {
                break;
            }
        }
        let _ = write.flush().await;
        let heard = tokio::time::timeout(SOON, heard).await.expect(what).expect("reader");
        assert!(kinds(&heard).contains(&GOAWAY), "{what}: {:?}", kinds(&heard).last());
    }
    f.open_connections(0).await;
    // One that asks is served, whatever windows it opens.
    let mut c = raw_http2(&f).await;
    for n in 0..200 {
        let mut ask = frame(HEADERS, END_HEADERS | END_STREAM, n * 2 + 1, BLOCK);
        ask.extend(frame(WINDOW_UPDATE, 0, 0, &1u32.to_be_bytes()).repeat(8));
        c.write_all(&ask).await.expect("still there");
        c.flush().await.expect("flush");
        let mut head = [0; 9];
        loop {
            tokio::time::timeout(SOON, c.read_exact(&mut head)).await.expect("in time").expect("a frame");
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let mut payload = vec![0; length];
            c.read_exact(&mut payload).await.expect("payload");
            assert_ne!(head[3], GOAWAY);
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            if stream == n * 2 + 1 && head[4] & END_STREAM != 0 {
                break;
            }
        }
    }
}

#[tokio::test]
async fn requests_that_two_parties_could_read_in_two_ways_are_400() {
    let f = Fixture::start(Options::default());
    let post = "POST /v1/a HTTP/1.1\r\nHost: localhost\r\n";
    for bad in [
        "GET /v1/a HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n".to_owned(),
        "GET /v1/a HTTP/1.1\r\nHost: localhost\r\nHost: other\r\n\r\n".to_owned(),
        "GET /v1/a HTTP/1.1\nHost: localhost\r\n\r\n".to_owned(),
        "GET /v1/a HTTP/1.1\r\nHost: localhost\n\r\n".to_owned(),
        "GET /v1/a HTTP/1.1\r\nHost: localhost\r\n\n".to_owned(),
        "\nGET /v1/a HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
        format!("{post}Transfer-Encoding: gzip, chunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n"),
        format!("{post}Transfer-Encoding: chunked, chunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n"),
        format!("{post}Transfer-Encoding: chunked\r\n\r\nzz\r\n{{}}\r\n0\r\n\r\n"),
        format!("{post}Transfer-Encoding: chunked\r\n\r\n2\n{{}}\r\n0\r\n\r\n"),
        format!("{post}Transfer-Encoding: chunked\r\n\r\n2\r\n{{}}xx0\r\n\r\n"),
        format!("{post}Transfer-Encoding: chunked\r\n\r\n-2\r\n{{}}\r\n0\r\n\r\n"),
    ] {
        let before = f.core.begun.load(Ordering::Acquire);
        let mut c = f.connect().await;
        send(&mut c, &bad).await;
        let got = to_end(&mut c).await;
        assert!(got.starts_with("HTTP/1.1 400 "), "{bad:?}\n{got}");
        assert_eq!(f.core.begun.load(Ordering::Acquire), before, "{bad:?} reached the core");
    }
    // The second request of a connection is looked at as the first, and a body is nobody's business.
    let mut c = f.connect().await;
    send(&mut c, &format!("{post}Content-Length: 6\r\n\r\n{{\n\n\n\n}}")).await;
    assert!(answer(&mut c).await.starts_with("HTTP/1.1 200 "));
    send(&mut c, &format!("{post}Transfer-Encoding: chunked\r\n\r\n3\r\n{{\n}}\r\n0\r\n\r\n")).await;
    assert!(answer(&mut c).await.starts_with("HTTP/1.1 200 "));
    send(&mut c, "GET /v1/a HTTP/1.1\r\nHost: localhost\n\r\n").await;
    assert!(to_end(&mut c).await.starts_with("HTTP/1.1 400 "));
}
