//! A real vaultd process, over TLS, on a port of its own choosing, and a client that shares no
//! code with it.

pub mod upstream;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long a test waits for anything before it gives up.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A name that the server's certificate has and no address leads to.
pub const CERTIFIED: &str = "certified.test";

/// A CA and a certificate for localhost, in PEM, in a directory of their own.
pub struct Pki {
    pub dir: tempfile::TempDir,
    pub ca_pem: String,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

impl Pki {
    pub fn new() -> Pki {
        let dir = tempfile::tempdir().unwrap();
        let ca_key = rcgen::KeyPair::generate().unwrap();
        let mut ca = rcgen::CertificateParams::new(Vec::new()).unwrap();
        ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        ca.distinguished_name.push(rcgen::DnType::CommonName, "test CA");
        let ca_cert = ca.self_signed(&ca_key).unwrap();
        let issuer = rcgen::Issuer::new(ca, ca_key);
        let pki = Pki { ca_pem: ca_cert.pem(), dir, issuer };
        std::fs::write(pki.path("ca.pem"), &pki.ca_pem).unwrap();
        pki.renew();
        pki
    }

    /// A new certificate and key for the server, in the place of the old ones.
    pub fn renew(&self) {
        self.issue("server", &["localhost", "127.0.0.1", CERTIFIED]);
    }

    /// A certificate for `names` and its key, at `{name}.pem` and `{name}-key.pem`.
    pub fn issue(&self, name: &str, names: &[&str]) {
        let key = rcgen::KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(|n| n.to_string()).collect();
        let params = rcgen::CertificateParams::new(names).unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(self.path(&format!("{name}.pem")), cert.pem()).unwrap();
        let path = self.path(&format!("{name}-key.pem"));
        std::fs::write(&path, key.serialize_pem()).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn client_config(&self) -> Arc<rustls::ClientConfig> {
        use rustls_pki_types::pem::PemObject;
        let mut roots = rustls::RootCertStore::empty();
        roots.add(rustls_pki_types::CertificateDer::from_pem_slice(self.ca_pem.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Arc::new(config)
    }
}

/// Where the binaries under test are.
pub fn binary(name: &str) -> PathBuf {
    let exe = std::env::current_exe().unwrap();
    let dir = exe.parent().unwrap().parent().unwrap();
    let path = dir.join(name);
    assert!(path.is_file(), "{} is not built: run cargo build --workspace --bins first", path.display());
    path
}

/// A running daemon. Killed when dropped.
pub struct Vaultd {
    child: Child,
    pub pid: u32,
    pub api: String,
    /// The API's other TCP listeners.
    pub more: Vec<String>,
    pub gateway: Option<String>,
    log: Arc<std::sync::Mutex<Vec<u8>>>,
    pub tls: Arc<rustls::ClientConfig>,
}

/// One answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }
    pub fn ok(self) -> Value {
        assert!(self.status < 300, "{} {}", self.status, self.text);
        self.json()
    }
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        self.json()
    }
}

/// A data directory with its config file; daemons come and go over it.
pub struct Home {
    pub dir: tempfile::TempDir,
    pub pki: Pki,
    pub backend: String,
    pub extra: String,
    /// In the gateway's block.
    pub gateway_extra: String,
}

impl Home {
    pub fn new(backend: &str) -> Home {
        Home {
            dir: tempfile::tempdir().unwrap(),
            pki: Pki::new(),
            backend: backend.into(),
            extra: String::new(),
            gateway_extra: String::new(),
        }
    }

    /// With an audit device at `audit/audit.log`, set in the config file.
    pub fn audited(backend: &str) -> Home {
        let mut home = Home::new(backend);
        std::fs::create_dir(home.path("audit")).unwrap();
        home.extra = format!(
            "audit_dirs = [\"{0}\"]\naudit \"file\" \"file\" {{ options = {{ file_path = \"{0}/audit.log\" }} }}\n",
            home.path("audit").display()
        );
        home
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn config(&self) -> PathBuf {
        let path = self.path("vaultd.hcl");
        let cert = self.pki.path("server.pem");
        let key = self.pki.path("server-key.pem");
        let tls = format!("tls_cert_file = \"{}\"\n  tls_key_file = \"{}\"", cert.display(), key.display());
        let text = format!(
            "storage \"{}\" {{\n  path = \"{}\"\n}}\nlistener \"tcp\" {{\n  address = \"127.0.0.1:0\"\n  {tls}\n}}\ngateway {{\n  address = \"127.0.0.1:0\"\n  {tls}\n{}}}\n{}",
            self.backend,
            self.path("data").display(),
            self.gateway_extra,
            self.extra
        );
        std::fs::write(&path, text).unwrap();
        path
    }

    pub fn start(&self) -> Vaultd {
        Vaultd::start(&self.config(), self.pki.client_config())
    }
}

impl Vaultd {
    pub fn start(config: &Path, tls: Arc<rustls::ClientConfig>) -> Vaultd {
        Self::try_start(config, tls).unwrap_or_else(|e| panic!("vaultd did not start: {e}"))
    }

    /// Waits for the line that tells the addresses; the text of stderr when it ends instead.
    pub fn try_start(config: &Path, tls: Arc<rustls::ClientConfig>) -> Result<Vaultd, String> {
        let mut child = Command::new(binary("vaultd"))
            .arg("server")
            .arg(format!("-config={}", config.display()))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut err = child.stderr.take().unwrap();
        let (tx, rx) = std::sync::mpsc::channel();
        let log = Arc::new(Mutex::new(Vec::new()));
        let all = Arc::clone(&log);
        std::thread::spawn(move || {
            // Keep draining: a full pipe must not stop the daemon, but the test wants the text.
            let mut buf = [0u8; 4096];
            while let Ok(n) = err.read(&mut buf) {
                if n == 0 {
                    break;
                }
                let mut all = all.lock().unwrap();
                if all.len() < 1 << 20 {
                    all.extend_from_slice(&buf[..n]);
                }
            }
            let _ = tx.send(String::from_utf8_lossy(&all.lock().unwrap()).into_owned());
        });
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut addresses = None;
        let mut line = String::new();
        while out.read_line(&mut line).unwrap_or(0) > 0 {
            if let Some(rest) = line.trim_end().strip_prefix("vaultd ready:") {
                addresses = Some(parse_ready(rest));
                break;
            }
            line.clear();
        }
        let Some((api, more, gateway)) = addresses else {
            let _ = child.wait();
            return Err(rx.recv_timeout(PATIENCE).unwrap_or_default());
        };
        std::thread::spawn(move || {
            let mut rest = String::new();
            let _ = out.read_to_string(&mut rest);
        });
        let pid = child.id();
        Ok(Vaultd { child, pid, api, more, gateway, tls, log })
    }

    /// What it wrote to stderr so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&self.log.lock().unwrap()).into_owned()
    }

    pub fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM, then waits for the process to end; its exit code.
    pub fn stop(mut self) -> Option<i32> {
        nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(self.pid as i32),
            nix::sys::signal::Signal::SIGTERM,
        )
        .unwrap();
        self.wait()
    }

    pub fn wait(&mut self) -> Option<i32> {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("vaultd did not end");
    }

    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.pid as i32), signal).unwrap();
    }

    pub async fn call(&self, method: &str, path: &str, token: &str, body: Option<Value>) -> Answer {
        let headers: &[(&str, &str)] = if token.is_empty() { &[] } else { &[("x-vault-token", token)] };
        let body = body.map(|b| b.to_string().into_bytes()).unwrap_or_default();
        send(&self.api, &self.tls, method, &format!("/v1/{path}"), headers, body).await
    }

    pub async fn get(&self, path: &str, token: &str) -> Answer {
        self.call("GET", path, token, None).await
    }
    pub async fn post(&self, path: &str, token: &str, body: Value) -> Answer {
        self.call("POST", path, token, Some(body)).await
    }
    /// A POST without a token, from another address of this machine.
    pub async fn post_from(&self, from: &str, path: &str, body: Value) -> Answer {
        let (target, body) = (format!("/v1/{path}"), body.to_string().into_bytes());
        let sent = try_send_from(Some(from), &self.api, &self.tls, "POST", &target, &[], body);
        tokio::time::timeout(PATIENCE, sent).await.expect("no answer in time").unwrap()
    }
    pub async fn delete(&self, path: &str, token: &str) -> Answer {
        self.call("DELETE", path, token, None).await
    }
    pub async fn list(&self, path: &str, token: &str) -> Answer {
        self.call("LIST", path, token, None).await
    }

    /// Initialises; the shares (hex) and the root token.
    pub async fn init(&self, shares: u8, threshold: u8) -> (Vec<String>, String) {
        let v = self
            .post("sys/init", "", json!({"secret_shares": shares, "secret_threshold": threshold}))
            .await
            .ok();
        let keys = v["keys"].as_array().unwrap().iter().map(|k| k.as_str().unwrap().to_string()).collect();
        (keys, v["root_token"].as_str().unwrap().to_string())
    }

    pub async fn unseal(&self, shares: &[String]) {
        let mut last = Value::Null;
        for s in shares {
            last = self.post("sys/unseal", "", json!({"key": s})).await.ok();
        }
        assert_eq!(last["sealed"], false, "{last}");
    }

    /// 1/1, unsealed, with a KV v2 mount at `secret/`: the root token and the share.
    pub async fn ready(&self) -> (String, Vec<String>) {
        let (keys, root) = self.init(1, 1).await;
        self.unseal(&keys).await;
        self.post("sys/mounts/secret", &root, json!({"type": "kv", "options": {"version": "2"}})).await.ok();
        (root, keys)
    }

    /// A token with one policy of this text.
    pub async fn token_with(&self, root: &str, name: &str, policy: &str) -> String {
        self.post(&format!("sys/policies/acl/{name}"), root, json!({"policy": policy})).await.ok();
        let v = self.post("auth/token/create", root, json!({"policies": [name]})).await.ok();
        v["auth"]["client_token"].as_str().unwrap().to_string()
    }
}

impl Drop for Vaultd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `api=https://… gateway=https://…`
fn parse_ready(rest: &str) -> (String, Vec<String>, Option<String>) {
    let (mut api, mut more) = (String::new(), Vec::new());
    let mut gateway = None;
    for word in rest.split_whitespace() {
        match word.split_once('=') {
            Some(("api", url)) if api.is_empty() => api = url.to_string(),
            Some(("api", url)) => more.push(url.to_string()),
            Some(("gateway", url)) => gateway = Some(url.to_string()),
            _ => {}
        }
    }
    (api, more, gateway)
}

/// One request on a connection of its own.
pub async fn send(
    base: &str,
    tls: &Arc<rustls::ClientConfig>,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> Answer {
    tokio::time::timeout(PATIENCE, try_send(base, tls, method, target, headers, body))
        .await
        .expect("no answer in time")
        .unwrap_or_else(|e| panic!("{method} {target}: {e}"))
}

pub async fn try_send(
    base: &str,
    tls: &Arc<rustls::ClientConfig>,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> Result<Answer, String> {
    try_send_from(None, base, tls, method, target, headers, body).await
}

async fn try_send_from(
    from: Option<&str>,
    base: &str,
    tls: &Arc<rustls::ClientConfig>,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> Result<Answer, String> {
    let text = |e: &dyn std::fmt::Display| e.to_string();
    let host = base.strip_prefix("https://").ok_or("not https")?;
    let socket = tokio::net::TcpSocket::new_v4().map_err(|e| text(&e))?;
    if let Some(ip) = from {
        socket
            .bind(format!("{ip}:0").parse::<std::net::SocketAddr>().map_err(|e| text(&e))?)
            .map_err(|e| text(&e))?;
    }
    let tcp = socket
        .connect(host.parse::<std::net::SocketAddr>().map_err(|e| text(&e))?)
        .await
        .map_err(|e| text(&e))?;
    let connector = tokio_rustls::TlsConnector::from(tls.clone());
    let name = ServerName::try_from("localhost").map_err(|e| text(&e))?;
    let stream = connector.connect(name, tcp).await.map_err(|e| text(&e))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| text(&e))?;
    let driver = tokio::spawn(connection);
    let mut request = http::Request::builder().method(method).uri(target).header("host", host);
    for (k, v) in headers {
        request = request.header(*k, *v);
    }
    let request = request.body(Full::new(Bytes::from(body))).map_err(|e| text(&e))?;
    let response = sender.send_request(request).await.map_err(|e| text(&e))?;
    let (head, body) = response.into_parts();
    let bytes = body.collect().await.map_err(|e| text(&e))?.to_bytes();
    driver.abort();
    Ok(Answer {
        status: head.status.as_u16(),
        headers: head.headers,
        text: String::from_utf8_lossy(&bytes).into_owned(),
    })
}

/// A connection that many requests go over, one after the other.
pub struct Line {
    host: String,
    sender: hyper::client::conn::http1::SendRequest<Full<Bytes>>,
}

impl Line {
    pub async fn open(base: &str, tls: &Arc<rustls::ClientConfig>) -> Line {
        let host = base.strip_prefix("https://").unwrap().to_owned();
        let tcp = tokio::net::TcpStream::connect(&host).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = tokio_rustls::TlsConnector::from(tls.clone()).connect(name, tcp).await.unwrap();
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Line { host, sender }
    }

    /// The status of a GET.
    pub async fn get(&mut self, target: &str, headers: &[(&str, &str)]) -> u16 {
        let mut request = http::Request::builder().uri(target).header("host", &self.host);
        for (k, v) in headers {
            request = request.header(*k, *v);
        }
        self.sender.ready().await.unwrap();
        let response = self.sender.send_request(request.body(Full::default()).unwrap()).await.unwrap();
        let status = response.status().as_u16();
        response.into_body().collect().await.unwrap();
        status
    }
}

/// Polls until `f` says so, for a bounded time.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut f: impl FnMut() -> F) {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        if f().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never happened: {what}");
}

/// Every regular file below `dir`, with its content.
pub fn files_below(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut out = Vec::new();
    let mut todo = vec![dir.to_path_buf()];
    while let Some(d) = todo.pop() {
        for entry in std::fs::read_dir(d).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                todo.push(path);
            } else if path.is_file() {
                let content = std::fs::read(&path).unwrap();
                out.push((path, content));
            }
        }
    }
    out
}

pub fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|w| w == needle)
}
