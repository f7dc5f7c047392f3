//! The process as its surroundings see it: signals, the service manager, the journal, the config
//! checker, the directories it finds.

use crate::support::{CERTIFIED, Home, PATIENCE, Pki, binary, send};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// A daemon under a service manager that this test plays, its stderr in a file that passes for the
/// journal.
struct Supervised {
    child: Child,
    /// What it told the service manager.
    messages: Receiver<String>,
    log: PathBuf,
    /// `https://address` or `http://address` of each API listener.
    api: Vec<String>,
}

impl Supervised {
    fn start(home: &Home, config: &Path) -> Supervised {
        let socket = home.path("notify");
        let _ = fs::remove_file(&socket);
        let manager = UnixDatagram::bind(&socket).unwrap();
        // Read all the time: where the queue is full, the daemon does not wait, and a message is lost.
        let (tx, messages) = channel();
        std::thread::spawn(move || {
            let mut text = [0; 512];
            while let Ok(n) = manager.recv(&mut text) {
                if tx.send(String::from_utf8_lossy(&text[..n]).into_owned()).is_err() {
                    return;
                }
            }
        });
        let log = home.path("stderr");
        let stderr = fs::File::create(&log).unwrap();
        let about = stderr.metadata().unwrap();
        let mut child = Command::new(binary("vaultd"))
            .args(["server", &format!("-config={}", config.display())])
            .env("NOTIFY_SOCKET", &socket)
            .env("WATCHDOG_USEC", "200000")
            .env("JOURNAL_STREAM", format!("{}:{}", about.dev(), about.ino()))
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("vaultd ready:"), "{line}: {}", fs::read_to_string(&log).unwrap());
        let api = line.split(' ').filter_map(|w| w.trim().strip_prefix("api=")).map(str::to_owned).collect();
        Supervised { child, messages, log, api }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    /// The next message that is not a sign of life.
    fn told(&self) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            let text = self.heard();
            if text != "WATCHDOG=1" {
                return text;
            }
            assert!(Instant::now() < until, "nothing but signs of life");
        }
    }

    fn heard(&self) -> String {
        self.messages.recv_timeout(PATIENCE).expect("a message to the service manager")
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    fn logged(&self, what: &str) {
        self.logged_times(what, 1);
    }

    fn logged_times(&self, what: &str, times: usize) {
        let until = Instant::now() + PATIENCE;
        while self.log().matches(what).count() < times {
            assert!(Instant::now() < until, "{what} is not in the log:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The status that it is ready with again.
    fn reload(&self) -> String {
        self.signal(Signal::SIGHUP);
        let reloading = self.told();
        let usec = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect("RELOADING with its time");
        assert!(usec.parse::<u64>().unwrap() > 0);
        let ready = self.told();
        ready.strip_prefix("READY=1\nSTATUS=").expect("READY with a status").to_owned()
    }

    fn stop(mut self) {
        self.signal(Signal::SIGTERM);
        assert_eq!(self.told(), "STOPPING=1");
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The certificate that an address shows.
async fn shown(pki: &Pki, api: &str) -> Vec<u8> {
    let tcp = tokio::net::TcpStream::connect(api.strip_prefix("https://").unwrap()).await.unwrap();
    let name = rustls_pki_types::ServerName::try_from("localhost").unwrap();
    let tls = tokio_rustls::TlsConnector::from(pki.client_config()).connect(name, tcp).await.unwrap();
    tls.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

#[tokio::test]
async fn a_service_manager_hears_of_every_turn_and_the_journal_gets_priorities() {
    let mut home = Home::audited("memory");
    let config = home.config();
    let s = Supervised::start(&home, &config);
    assert_eq!(s.told(), "READY=1\nSTATUS=sealed");
    assert_eq!(s.heard(), "WATCHDOG=1");
    assert_eq!(s.heard(), "WATCHDOG=1", "and again");

    // Signals without a meaning do not end it.
    for (signal, name) in [(Signal::SIGUSR1, "SIGUSR1"), (Signal::SIGUSR2, "SIGUSR2")] {
        s.signal(signal);
        s.logged(&format!("{name} has no meaning here"));
    }

    // A certificate that was renewed is shown to the next that asks; nothing is named that did not
    // change, or counts at once.
    let old = shown(&home.pki, &s.api[0]).await;
    home.pki.renew();
    home.extra += "log_level = \"debug\"\n";
    home.config();
    assert_eq!(s.reload(), "sealed");
    let new = shown(&home.pki, &s.api[0]).await;
    assert_ne!(old, new, "the certificate was reloaded");
    s.logged("certificate reloaded");
    assert!(!s.log().contains("it counts after a restart"), "{}", s.log());

    // The level counts at once.
    // One certificate for the API, one for the gateway.
    let reloaded = 2;
    s.logged_times("certificate reloaded", reloaded);
    home.extra = home.extra.replace("log_level = \"debug\"", "log_level = \"error\"");
    home.config();
    s.reload();
    home.extra = home.extra.replace("log_level = \"error\"", "log_level = \"debug\"");
    home.config();
    s.reload();
    s.logged_times("certificate reloaded", 2 * reloaded);
    assert_eq!(s.log().matches("certificate reloaded").count(), 2 * reloaded, "INFO under level \"error\"");

    // One that cannot be read leaves the old one in force.
    fs::write(home.pki.path("server.pem"), "nonsense").unwrap();
    home.extra += "max_lease_ttl = \"1000h\"\n";
    home.config();
    s.reload();
    s.logged("the old one stays");
    assert_eq!(shown(&home.pki, &s.api[0]).await, new);
    s.logged("\"max_lease_ttl\" has changed; it counts after a restart");
    assert!(!s.log().contains("\"log_level\" has changed"));

    let post = async |path: &str, body: Value| {
        let (target, body) = (format!("/v1/{path}"), body.to_string().into_bytes());
        send(&s.api[0], &home.pki.client_config(), "POST", &target, &[], body).await.ok()
    };
    let made = post("sys/init", json!({"secret_shares": 1, "secret_threshold": 1})).await;
    assert_eq!(post("sys/unseal", json!({"key": made["keys"][0]})).await["sealed"], false);
    assert_eq!(s.reload(), "unsealed");

    let log = s.log();
    for line in log.lines() {
        let level = line.get(..3).unwrap_or_default();
        assert!(["<3>", "<4>", "<6>", "<7>"].contains(&level), "a line without its priority: {line}");
        let word = [("<3>", " ERROR "), ("<4>", " WARN "), ("<6>", " INFO "), ("<7>", " DEBUG ")];
        let want = word.iter().find(|(l, _)| *l == level).map(|(_, w)| *w).unwrap();
        assert!(line.contains(want), "{line}");
    }
    assert!(log.lines().any(|l| l.starts_with("<4>")) && log.lines().any(|l| l.starts_with("<3>")));
    s.stop();
}

#[tokio::test]
async fn a_rotated_audit_file_goes_on_in_a_new_one_without_a_warning() {
    let home = Home::audited("memory");
    let mut v = home.start();
    let (root, _) = v.ready().await;
    let file = home.path("audit/audit.log");
    fs::rename(&file, home.path("audit/audit.log.1")).unwrap();
    v.signal(Signal::SIGHUP);
    let until = Instant::now() + PATIENCE;
    while !file.exists() {
        assert!(Instant::now() < until, "no new audit file");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    v.get("auth/token/lookup-self", &root).await.ok();
    let shown = v.get("sys/seal-status", "").await.ok();
    v.signal(Signal::SIGTERM);
    assert_eq!(v.wait(), Some(0));
    crate::support::eventually("the last lines", || async { v.log().contains("vaultd stops") }).await;
    let log = v.log();
    let first = log.find("audit files reopened").unwrap_or_else(|| panic!("reopened: {log}"));
    let about_audit = log.lines().filter(|l| l.contains("WARN") && l.contains("audit"));
    assert_eq!(about_audit.count(), 0, "{log}");
    assert!(log[first..].lines().all(|l| !l.contains("new_file")), "{log}\n{shown}");
}

#[test]
fn a_listener_without_tls_answers_to_its_own_names_only() {
    let mut home = Home::new("memory");
    home.extra = "listener \"tcp\" {\n address = \"127.0.0.1:0\"\n tls_disable = true\n}\nallowed_hosts = [\"vault.test\"]\n".into();
    let config = home.config();
    let s = Supervised::start(&home, &config);
    assert_eq!(s.told(), "READY=1\nSTATUS=sealed");
    let plain = s.api.iter().find_map(|a| a.strip_prefix("http://")).expect("a plain listener").to_owned();
    let port = plain.rsplit_once(':').unwrap().1;
    let ask = |path: &str, headers: &str| {
        let mut tcp = TcpStream::connect(&plain).unwrap();
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(tcp, "GET /v1/{path} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        let _ = tcp.read_to_string(&mut text);
        text.get(9..12).unwrap_or_default().to_owned()
    };
    for (path, headers, want) in [
        ("sys/init", format!("Host: 127.0.0.1:{port}\r\n"), "200"),
        ("sys/init", format!("Host: localhost:{port}\r\n"), "200"),
        // A name of the other listener's certificate, and one of the config's.
        ("sys/seal-status", format!("Host: {CERTIFIED}\r\n"), "200"),
        ("sys/seal-status", format!("Host: VAULT.test:{port}\r\n"), "200"),
        ("sys/init", format!("Host: evil.test:{port}\r\n"), "403"),
        ("sys/init", format!("Host: evil.test:{port}\r\nX-Vault-Token: x\r\n"), "403"),
        ("sys/init", format!("Host: localhost:{port}\r\nOrigin: http://evil.test\r\n"), "403"),
        ("sys/seal-status", format!("Host: evil.test:{port}\r\n"), "403"),
        ("sys/health?uninitcode=200", format!("Host: evil.test:{port}\r\n"), "200"),
    ] {
        assert_eq!(ask(path, &headers), want, "{path} {headers}");
    }
    s.stop();
}

fn run(args: &[&str]) -> (Option<i32>, String) {
    let out = Command::new(binary("vaultd")).args(args).env_remove("JOURNAL_STREAM").output().unwrap();
    (out.status.code(), String::from_utf8_lossy(&out.stderr).into_owned())
}

#[test]
fn a_store_that_is_open_to_others_is_not_opened() {
    let home = Home::new("sled");
    let config = home.config();
    let data = home.path("data");
    fs::create_dir(&data).unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o755)).unwrap();
    let (code, text) = run(&["server", &format!("-config={}", config.display())]);
    assert_eq!(code, Some(69), "{text}");
    assert!(text.contains("is open to others (mode 0755)") && text.contains("chmod 0700"), "{text}");
    assert_eq!(fs::read_dir(&data).unwrap().count(), 0, "nothing was made in it");
}

/// Another stderr than the journal's: whoever reads it has no use for priorities.
#[test]
fn only_the_journal_is_told_priorities() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("stderr");
    let missing = dir.path().join("missing.hcl");
    for (own, prefix) in [(true, "<3>"), (false, missing.to_str().unwrap())] {
        let stderr = fs::File::create(&path).unwrap();
        let about = stderr.metadata().unwrap();
        let inode = if own { about.ino() } else { about.ino() + 1 };
        let mut command = Command::new(binary("vaultd"));
        command.arg("check-config").arg(&missing).stderr(stderr);
        let status = command.env("JOURNAL_STREAM", format!("{}:{inode}", about.dev())).status().unwrap();
        assert_eq!(status.code(), Some(64));
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with(prefix), "{text}");
    }
    let (_, text) = run(&["check-config", missing.to_str().unwrap()]);
    assert!(text.starts_with(missing.to_str().unwrap()), "without a journal: {text}");
}

#[test]
fn check_config_names_the_file_the_line_and_what_was_meant() {
    let mut home = Home::new("sled");
    home.extra =
        "audit \"file\" \"a\" {\n  path = \"/nonexistent/audit.log\"\n}\nlog_levle = \"info\"\n".into();
    let config = home.config();
    let (code, text) = run(&["check-config", config.to_str().unwrap()]);
    let name = config.display();
    assert_eq!(code, Some(64), "{text}");
    assert!(text.contains("\"log_levle\" is not a known key; did you mean \"log_level\"?"), "{text}");
    home.extra = home.extra.replace("levle", "level");
    home.config();
    let (code, text) = run(&["check-config", config.to_str().unwrap()]);
    assert_eq!(code, Some(64), "{text}");
    let line =
        fs::read_to_string(&config).unwrap().lines().position(|l| l.contains("nonexistent")).unwrap() + 1;
    assert!(text.starts_with(&format!("{name}:{line}: the audit directory /nonexistent: ")), "{text}");
    home.extra.clear();
    home.config();
    assert_eq!(run(&["check-config", config.to_str().unwrap()]).0, Some(0));
}

/// A suite that fails does not stop the others.
#[test]
fn the_test_runner_goes_on_and_sums_up() {
    let target = tempfile::tempdir().unwrap();
    let out = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("run"))
        .args(["no-such-suite", "nor-this"])
        .env("CARGO_TARGET_DIR", target.path())
        .env_remove("CI")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stdout);
    assert_eq!(out.status.code(), Some(1), "{text}");
    for want in [
        "=== no-such-suite: suite 1 of 2, elapsed ",
        "=== nor-this: suite 2 of 2, elapsed ",
        "expected ? s",
        "suites: 0 passed, 2 failed, 0 skipped",
    ] {
        assert!(text.contains(want), "{want}\n{text}");
    }
}
